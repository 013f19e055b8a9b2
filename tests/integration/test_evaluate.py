"""Evaluation on a real Ray: sets on disk, bulk annotation, a report; again it asks nothing and writes the same bytes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from ray_jobs.evaluate.asked import Asked, Texts
from ray_jobs.evaluate.corpora import Outcome, evaluate, on_ray
from ray_jobs.evaluate.plan import Cases
from tests.integration.bulk import talking_checkpoint
from tests.unit.data.corpora import test_gcg as gcg
from tests.unit.data.corpora.disk import mevis, put
from vglamm import annotation, checkpoint

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
# one video in a batch: masks are then equal to the last bit, whichever video is ready first
PROFILE = """
name: alone
layout: whole
decode_vision: {cpus: 0.2}
decode_pixel: {cpus: 0.2}
whole: {cpus: 0.4}
device: cpu
stall: 600.0
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talking_checkpoint(tmp_path_factory.mktemp("model") / "fake")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MeViS and the three sets of grounded conversation."""
    folder = tmp_path_factory.mktemp("sets")
    mevis(folder)
    put(folder / "mevis_gcg/valid_u/ab.json", {"caption": "[A cat](1) and [a dog](2)"})
    gcg._words(folder)
    gcg._folders(folder)
    (folder / "alone.yaml").write_text(PROFILE)
    return folder


def run(task: str, root: Path, out: Path, model: Path) -> Outcome:
    texts = Texts("exact", java=False) if task == "gcg" else Texts()
    asked = Asked(Cases.of(task, str(root), None, None), str(model), out, str(root / "alone.yaml"), texts=texts)
    answer = on_ray(asked, address=None, console=Console(file=io.StringIO()))
    return evaluate(asked, answer, model=checkpoint.identity(model), commit="c0ffee")


def contents(done: Outcome) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in done.files.items()}


def test_grounded_conversations_and_again(root: Path, tmp_path: Path, model: Path) -> None:
    done = run("gcg", root, tmp_path / "out", model)
    assert (done.cases, done.failed) == (4, 0)
    rows = list(annotation.read(tmp_path / "out" / "answers"))
    assert [row.extra["cases"] for row in rows] == [
        ["video_gcg/test/7"],
        ["video_gcg/test/9"],
        ["mevis_gcg/valid_u/ab"],
        ["vidstg_gcg/val/123"],
    ]
    assert all(row.answer is not None and len(row.answer.tracks) == 2 for row in rows)
    assert done.body is not None
    assert done.body["provenance"]["model"] == checkpoint.identity(model)
    miou = done.body["sections"][0]["rows"][0]
    assert (miou["measure"], miou["corrected"]["n"]) == ("miou", 4)
    assert 0 <= miou["corrected"]["value"] <= 100
    before = contents(done)

    assert contents(run("gcg", root, tmp_path / "out", model)) == before
    summary = json.loads((tmp_path / "out" / "answers" / "summary.json").read_text())
    assert (summary["this_run"]["videos"], summary["this_run"]["done_before"]) == (0, 4)


@pytest.mark.slow
def test_referring_expressions_twice_from_nothing(root: Path, tmp_path: Path, model: Path) -> None:
    done = run("mevis", root, tmp_path / "one", model)
    assert (done.cases, done.failed) == (3, 0)
    rows = list(annotation.read(tmp_path / "one" / "answers"))
    assert [row.question for row in rows] == [case.question for case in Cases.of("mevis", str(root), None, None)]
    assert {row.video for row in rows} == {"mevis/valid_u/ab/0"}, "three questions of one video"
    assert contents(run("mevis", root, tmp_path / "two", model)) == contents(done)
