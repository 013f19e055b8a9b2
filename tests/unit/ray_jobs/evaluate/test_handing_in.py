"""Splits that a server scores: whole zips of what was asked, or none."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ray_jobs.evaluate.corpora import Outcome, evaluate
from tests.unit.data.corpora import test_referring as referring
from tests.unit.data.corpora.disk import NAMES, H, W, edit, mevis
from tests.unit.ray_jobs.evaluate.oracle import LOST, oracle
from tests.unit.ray_jobs.evaluate.test_corpora import asked_of
from vglamm.errors import ConfigError


def handed_in(root: Path, task: str, changes: dict[str, str] | None = None, **more: object) -> Outcome:
    asked = asked_of(root, task, "valid", **more)
    return evaluate(asked, oracle(asked.cases, dict(changes or {})), model="fake@0123")


def pictures(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        return {name: np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in archive.namelist()}


def test_mevis_valid_gets_two_zips_and_no_score(tmp_path: Path) -> None:
    mevis(tmp_path, "valid")
    done = handed_in(tmp_path, "mevis")
    assert (done.body, done.cases, done.failed) == (None, 3, 0)
    union, first = pictures(done.files["corrected"]), pictures(done.files["published"])
    assert list(union) == list(first) == [f"ab/{exp}/{name}.png" for exp in "012" for name in NAMES]
    shown = union["ab/0/00005.png"]
    assert shown.shape == (H, W)
    assert set(np.unique(shown)) == {0, 255}
    assert shown[[0, -1]].all(), "both objects"
    assert first["ab/0/00005.png"][0].all()
    assert not first["ab/0/00005.png"][-1].any(), "the first alone"
    before = done.files["corrected"].read_bytes()
    assert handed_in(tmp_path, "mevis").files["corrected"].read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["submission-published.zip", "submission.zip"]


def test_ref_youtube_vos_leaves_out_what_its_server_does_not_score(tmp_path: Path) -> None:
    referring._ytvos(tmp_path)
    done = handed_in(tmp_path, "ref_youtube_vos", submission=tmp_path / "mine.zip")
    assert done.files["corrected"] == tmp_path / "mine.zip"
    assert list(pictures(tmp_path / "mine.zip")) == [f"Annotations/v1/{exp}/{name}.png" for exp in "01" for name in NAMES]


def test_failed_cases_get_empty_masks_if_so_many_may_fail(tmp_path: Path) -> None:
    mevis(tmp_path, "valid")
    lost = {"mevis/valid/ab/1": LOST}
    refused = handed_in(tmp_path, "mevis", lost)
    assert (refused.failed, dict(refused.files)) == (1, {})
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.zip"))
    done = handed_in(tmp_path, "mevis", lost, max_failed=0.5)
    shown = pictures(done.files["corrected"])
    assert len(shown) == 9
    assert not shown["ab/1/00000.png"].any()
    assert done.failed_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(("task", "video"), [("mevis", "ab"), ("ref_youtube_vos", "v1")])
def test_a_video_that_failed_whole_gets_empty_masks_of_its_own_size(tmp_path: Path, task: str, video: str) -> None:
    index = mevis(tmp_path, "valid") / "meta_expressions.json"
    if task == "ref_youtube_vos":
        index = referring._ytvos(tmp_path) / "meta_expressions/valid/meta_expressions.json"
    edit(index, lambda found: found["videos"].update(zz=found["videos"][video]))
    for name in NAMES:
        frame = next(tmp_path.glob(f"*/valid/JPEGImages/{video}")).parent / "zz" / f"{name}.jpg"
        frame.parent.mkdir(exist_ok=True)
        Image.new("RGB", (2 * W, 3 * H)).save(frame)
    done = handed_in(tmp_path, task, {f"{task}/valid/zz/{exp}": LOST for exp in "012"}, max_failed=0.5)
    assert done.failed == done.cases / 2
    for path in done.files.values():
        shown = pictures(path)
        assert len(shown) == done.cases * len(NAMES)
        assert {picture.shape for name, picture in shown.items() if f"{video}/" in name} == {(H, W)}
        lost = [picture for name, picture in shown.items() if "zz/" in name]
        assert {picture.shape for picture in lost} == {(3 * H, 2 * W)}
        assert not any(picture.any() for picture in lost)


def test_a_video_that_is_not_there_fails_its_expressions(tmp_path: Path) -> None:
    folder = mevis(tmp_path, "valid")

    def another(index: dict) -> None:
        index["videos"]["zz"] = index["videos"]["ab"]

    edit(folder / "meta_expressions.json", another)
    refused = handed_in(tmp_path, "mevis")
    assert (refused.cases, refused.failed, dict(refused.files)) == (6, 3, {})


def test_rows_of_other_questions_are_no_submission(tmp_path: Path) -> None:
    mevis(tmp_path, "valid")
    asked = asked_of(tmp_path, "mevis", "valid")
    say = oracle(asked.cases)
    with pytest.raises(ConfigError, match="has the set changed"):
        evaluate(asked, lambda manifest: [replace(row, question="why?") for row in say(manifest)], model="m")
    assert not (tmp_path / "out" / "submission.zip").exists()
