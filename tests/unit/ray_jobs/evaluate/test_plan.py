"""What is asked: each case once, videos shared, sampling with every row, and nothing of the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.evaluate import plan as planning
from ray_jobs.evaluate.plan import Cases, make_plan
from tests.unit.data.corpora import test_gcg as gcg
from tests.unit.data.corpora import test_images as images
from tests.unit.data.corpora import test_referring as referring
from tests.unit.data.corpora import test_tubes as tubes
from tests.unit.data.corpora.disk import edit, mevis
from vglamm.errors import ConfigError, CorpusError


def test_expressions_of_a_video_are_questions_of_one_job(tmp_path: Path) -> None:
    folder = mevis(tmp_path)
    plan = make_plan(Cases.of("mevis", str(tmp_path), None, None), tmp_path / "links")
    (job,) = plan.manifest.jobs
    assert (plan.cases, plan.unusable, plan.manifest.rows) == (3, 0, 3)
    assert job.uri == str(folder / "JPEGImages" / "ab")
    assert job.questions[0] == "What is the dog on the left in this video? Please respond with segmentation masks."
    assert job.sampling == {"source_fps": 6.0, "every_frame": True}
    assert job.extra == {"cases": [f"mevis/valid_u/ab/{n}" for n in range(3)]}


def test_a_video_with_many_questions_is_several_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mevis(tmp_path)
    monkeypatch.setattr(planning, "TOGETHER", 2)
    jobs = make_plan(Cases.of("mevis", str(tmp_path), None, None), tmp_path).manifest.jobs
    assert [(job.position, job.first, len(job.questions)) for job in jobs] == [(0, 0, 2), (1, 2, 1)]
    assert len({job.id for job in jobs}) == 2


def test_spans_of_one_video_travel_with_their_rows(tmp_path: Path) -> None:
    edit(tubes._vidstg(tmp_path), lambda index: index["videos"][1].update(tube_start_frame=22))
    one, other = make_plan(Cases.of("vidstg", str(tmp_path), None, None), tmp_path).manifest.jobs
    assert one.uri == other.uri
    assert one.sampling == {"fps": 1.0, "limit": 40, "start": pytest.approx(1.15), "end": pytest.approx(4.15)}
    assert other.sampling["start"] == pytest.approx(2.15)
    tubes._vidstg(tmp_path)
    assert len(make_plan(Cases.of("vidstg", str(tmp_path), None, None), tmp_path).manifest.jobs) == 1


def test_a_long_davis_video_is_asked_whole_and_clip_by_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    referring._davis(tmp_path, True)
    cases = Cases.of("ref_davis17", str(tmp_path), None, None)
    assert [case.meta.get("clip") for case in cases] == [None] * 8
    monkeypatch.setattr(planning, "CLIP", 2)
    assert [case.meta.get("clip") for case in cases] == [None] * 8 + [(0, 2)] * 8 + [(2, 3)] * 8
    whole, first, second = make_plan(cases, tmp_path).manifest.jobs
    assert whole.sampling == {"source_fps": 24.0, "every_frame": True}
    assert (first.sampling.get("start"), first.sampling["end"]) == (None, pytest.approx(1.5 / 24))
    assert (second.sampling["start"], second.sampling["end"]) == (pytest.approx(1.5 / 24), pytest.approx(2.5 / 24))


def test_a_case_that_cannot_be_asked_is_in_no_job_and_is_counted(tmp_path: Path) -> None:
    edit(gcg._words(tmp_path), lambda index: index["annotations"][1]["segmentations"].pop())
    plan = make_plan(Cases.of("video_gcg", str(tmp_path), None, "test"), tmp_path / "links")
    assert (plan.cases, plan.unusable) == (2, 1)
    (job,) = plan.manifest.jobs
    assert job.extra == {"cases": ["video_gcg/test/9"]}
    assert job.uri.startswith(str(tmp_path / "links")), "of a folder with other frames too, links"


def test_the_digest_tells_what_is_asked_and_not_where_it_lies(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        gcg._words(tmp_path / name)
        digests.append(make_plan(Cases.of("video_gcg", str(tmp_path / name), None, "test"), tmp_path / name / "links").digest)
    assert digests[0] == digests[1]
    edit(tmp_path / "b/video_gcg/instruction_data/test.json", lambda index: index["videos"].pop())
    changed = make_plan(Cases.of("video_gcg", str(tmp_path / "b"), None, "test"), tmp_path / "links").digest
    assert changed != digests[0]


def test_the_roots_of_videos_and_images(tmp_path: Path) -> None:
    images._coco(tmp_path / "images")
    cases = Cases.of("refcoco", str(tmp_path), str(tmp_path / "images"), None, limit=3)
    assert [case.id for case in cases] == ["refcoco/val/5/0", "refcoco/val/5/1", "refcoco/val/6/0"]
    assert [len(job.questions) for job in make_plan(cases, tmp_path).manifest.jobs] == [3]
    assert Cases.of("refcoco", str(tmp_path / "images"), None, None).root == tmp_path / "images"
    with pytest.raises(ConfigError, match="--images or --data"):
        Cases.of("refcoco", None, None, None)
    with pytest.raises(ConfigError, match="without --data"):
        Cases.of("mevis", None, str(tmp_path), None)


@pytest.mark.parametrize(("task", "split", "told"), [("mevi", None, "world, or one of gcg"), ("mevis", "test", "split 'test'")])
def test_a_task_or_split_that_does_not_exist(tmp_path: Path, task: str, split: str | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Cases.of(task, str(tmp_path), None, split)


def test_nothing_to_ask_says_why(tmp_path: Path) -> None:
    folder = mevis(tmp_path)
    (folder / "JPEGImages/ab/00005.jpg").unlink()
    with pytest.raises(CorpusError, match=r"3 cases of which none can be asked.*00005\.jpg"):
        make_plan(Cases.of("mevis", str(tmp_path), None, None), tmp_path)
    edit(folder / "meta_expressions.json", lambda index: index["videos"].clear())
    with pytest.raises(CorpusError, match="without a case"):
        make_plan(Cases.of("mevis", str(tmp_path), None, None), tmp_path)
