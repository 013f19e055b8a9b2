"""From cases and answers to one report: what is true scores all, what failed is counted, and the same gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ray_jobs.annotate import front
from ray_jobs.annotate.manifest import Manifest
from ray_jobs.annotate.run import BulkJob
from ray_jobs.evaluate import plan as planning
from ray_jobs.evaluate.asked import Asked, Texts
from ray_jobs.evaluate.corpora import Outcome, commit, evaluate, numbers, on_ray
from ray_jobs.evaluate.plan import Cases
from tests.unit.data.corpora import test_gcg as gcg
from tests.unit.data.corpora import test_images as images
from tests.unit.data.corpora import test_referring as referring
from tests.unit.data.corpora import test_tubes as tubes
from tests.unit.data.corpora.disk import edit, mevis, put
from tests.unit.ray_jobs.evaluate.oracle import LOST, oracle, truly
from vglamm.data.corpora import Case
from vglamm.errors import ConfigError
from vglamm.media.mp4 import write_mp4
from vglamm.metrics.score import Record
from vglamm.records import Sampling

PLAIN = Texts("exact", java=False)


def asked_of(root: Path, task: str, split: str | None = None, **more: Any) -> Asked:
    cases = Cases.of(task, str(root), None, split, more.pop("limit", None))
    return Asked(cases, "fake", root / "out", **more)


def scored(asked: Asked, changes: dict[str, Any] | None = None) -> Outcome:
    return evaluate(asked, oracle(asked.cases, changes), model="fake@0123", commit="c0ffee")


def rows(done: Outcome, group: str = "") -> dict[str, tuple[float | None, float | None]]:
    """Published and corrected values of a group."""
    assert done.body is not None
    (section,) = (section for section in done.body["sections"] if section["group"] == group)
    return {row["measure"]: (row["published"]["value"], row["corrected"]["value"]) for row in section["rows"]}


def nothing(case: Case, sampling: Sampling) -> tuple[str, np.ndarray]:
    raw, masks = truly(case, sampling)
    return raw, np.zeros_like(masks)


def test_referring_in_both_modes_and_what_failed(tmp_path: Path) -> None:
    mevis(tmp_path)
    done = scored(asked_of(tmp_path, "mevis"))
    assert rows(done)["jf"] == (100, 100)
    assert (done.cases, done.failed, done.failed_share) == (3, 0, 0)
    done = scored(asked_of(tmp_path, "mevis"), {"mevis/valid_u/ab/0": LOST})
    assert rows(done)["j"] == (pytest.approx(200 / 3, abs=1e-5), pytest.approx(200 / 3, abs=1e-5))
    assert (done.cases, done.failed) == (3, 1)
    assert done.body is not None
    assert done.body["cases"]["failed"] == {"VideoUnreadable": 1}


def test_the_same_answers_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    written = []
    for place in ("a", "b", "b"):
        mevis(tmp_path / place)
        done = scored(asked_of(tmp_path / place, "mevis"), {"mevis/valid_u/ab/1": nothing})
        assert list(done.files) == ["records.jsonl", "report.json", "report.md"]
        written.append([path.read_bytes() for path in done.files.values()])
    assert written[0] == written[1] == written[2]
    records, report, text = written[0]
    lines = [Record.from_row(json.loads(line)) for line in records.splitlines()]
    assert [line.id for line in lines] == [f"mevis/valid_u/ab/{n}" for n in range(3)]
    told = json.loads(report)["provenance"]
    assert (told["model"], told["split"], told["commit"]) == ("fake@0123", "valid_u", "c0ffee")
    assert text.startswith(b"# MeViS\n")


def test_another_seed_changes_the_intervals_alone(tmp_path: Path) -> None:
    mevis(tmp_path)
    one, other = (scored(asked_of(tmp_path, "mevis", seed=seed)) for seed in (0, 7))
    assert one.body is not None
    assert other.body is not None
    assert (one.body["bootstrap"]["seed"], other.body["bootstrap"]["seed"]) == (0, 7)
    assert rows(one) == rows(other)


def test_a_case_that_cannot_be_asked_is_a_failed_record(tmp_path: Path) -> None:
    edit(mevis(tmp_path) / "mask_dict.json", lambda lists: lists.pop("12"))
    done = scored(asked_of(tmp_path, "mevis"))
    assert (done.cases, done.failed) == (3, 1)
    assert rows(done)["j"] == (100, pytest.approx(200 / 3, abs=1e-5)), "the published scorer never sees it"


def test_conversations_name_what_has_no_judge(tmp_path: Path) -> None:
    mevis(tmp_path)
    put(tmp_path / "mevis_gcg/valid_u/ab.json", {"caption": "[both](2, 1) and [one](2)"})
    gcg._words(tmp_path)
    gcg._folders(tmp_path)
    lost = {"video_gcg/test/9": LOST}
    done = scored(asked_of(tmp_path, "gcg", texts=PLAIN), lost)
    assert rows(done)["miou"] == (0, 75), "masks of fewer than 20 pixels are removed by the published scorer"
    assert rows(done, "mevis_gcg")["recall"][1] == 1
    assert rows(done)["clair"] == (None, None)
    assert done.body is not None
    assert [section["group"] for section in done.body["sections"]] == ["", "mevis_gcg", "video_gcg", "vidstg_gcg"]
    notes = {row["measure"]: row["corrected"]["note"] for row in done.body["sections"][0]["rows"]}
    assert notes["meteor"] == "not computed: java is turned off"
    assert notes["clair"] == "not computed: no endpoint"
    assert "corrected/mevis_gcg/miou" in numbers(done)
    assert "corrected/clair" not in numbers(done)


def late(case: Case, sampling: Sampling) -> tuple[str, np.ndarray]:
    """True on the first two frames alone, whatever part of the video is shown."""
    raw, masks = truly(case, sampling)
    masks[:, [frame > 1 for frame in sampling.grounding_indices]] = False
    return raw, masks


def test_davis_is_published_from_clips_and_corrected_from_whole_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    referring._davis(tmp_path, True)
    monkeypatch.setattr(planning, "CLIP", 2)
    asked = asked_of(tmp_path, "ref_davis17")
    whole = {f"ref_davis17/valid/bear/{n}": late for n in range(8)}
    done = scored(asked, whole)
    assert rows(done)["j"] == (100, pytest.approx(200 / 3, abs=1e-5)), "whole videos alone lose the last frame"
    done = scored(asked, {f"{name}@1": nothing for name in whole})
    assert rows(done)["j"] == (pytest.approx(200 / 3, abs=1e-5), 100)
    assert done.body is not None
    assert done.body["cases"]["total"] == 8
    assert any("16 clips of at most" in note for note in done.body["notes"])
    assert done.cases == 24, "every case that was asked has a record"
    lines = (asked.out / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines[7:10]] == [f"ref_davis17/valid/bear/{n}" for n in ("7", "0@0", "1@0")]


def test_short_davis_videos_are_asked_once_for_both_modes(tmp_path: Path) -> None:
    referring._davis(tmp_path, True)
    done = scored(asked_of(tmp_path, "ref_davis17"), {"ref_davis17/valid/bear/0": LOST})
    published, corrected = rows(done)["j"]
    assert corrected == pytest.approx(700 / 8, abs=1e-5)
    assert published == pytest.approx(700 / 8, abs=1e-5)
    assert (done.cases, done.failed) == (8, 1)


@pytest.mark.parametrize(("task", "measure"), [("vidstg", "gt_viou"), ("vidstg_moment", "viou")])
def test_boxes_through_time(tmp_path: Path, task: str, measure: str) -> None:
    tubes._vidstg(tmp_path)
    edit(
        tmp_path / "processed/vidstg/vidstg_annotations/test.json",
        lambda index: [box.update(bbox=[2, 1, 4, 5]) for box in index["trajectories"]["55"]["3"].values()],
    )
    pixels = np.zeros((12, 16, 3), np.uint8)
    write_mp4(tmp_path / "vidstg/video/0001/55.mp4", ((i / tubes.FPS, pixels) for i in range(tubes.COUNT)), 1 / tubes.FPS)
    done = scored(asked_of(tmp_path, task))
    assert rows(done)[measure][1] == 100
    if task == "vidstg":
        assert rows(done)[measure][0] == 60, "published boxes end at their last pixel: 3 x 4 of 4 x 5"
    done = scored(asked_of(tmp_path, task), {f"{task}/test/1": nothing})
    assert rows(done, "declarative")[measure][1] == 0


def test_images(tmp_path: Path) -> None:
    images._coco(tmp_path)
    done = scored(asked_of(tmp_path, "refcoco"), {"refcoco/val/5/0": nothing})
    assert rows(done)["giou"] == (75, 75)
    assert rows(done)["ciou"][1] is not None


def test_a_limit_is_told(tmp_path: Path) -> None:
    mevis(tmp_path)
    done = scored(asked_of(tmp_path, "mevis", limit=2))
    assert done.cases == 2
    assert done.body is not None
    assert done.body["provenance"]["more"]["only the first cases"] == 2


def test_rows_of_other_cases_are_refused(tmp_path: Path) -> None:
    mevis(tmp_path)
    asked = asked_of(tmp_path, "mevis")
    answered = list(oracle(asked.cases)(_manifest(asked)))
    other = [replace(answered[0], question="why?"), *answered[1:]]
    for wrong, told in ((other, "for case 'mevis/valid_u/ab/0'"), (answered[:2], "no row"), (answered * 2, "for no case")):
        with pytest.raises(ConfigError, match=told):
            evaluate(asked, lambda _, wrong=wrong: wrong, model="m")
    assert not (asked.out / "report.json").exists()


def _manifest(asked: Asked) -> Manifest:
    return planning.make_plan(asked.cases, asked.out / "links").manifest


def test_the_commit_of_a_checkout() -> None:
    assert len(commit().removesuffix("-dirty")) in (0, 40)


@pytest.mark.parametrize("retry", [False, True])
def test_what_has_failed_is_asked_once_more_if_it_is_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry: bool) -> None:
    mevis(tmp_path)
    asked = asked_of(tmp_path, "mevis", retry=retry)
    jobs: list[BulkJob] = []
    monkeypatch.setattr(front, "drive", lambda job, **_: jobs.append(job))
    on_ray(asked, address=None, console=Console())(planning.make_plan(asked.cases, tmp_path / "links").manifest)
    assert [job.retry for job in jobs] == [retry]
