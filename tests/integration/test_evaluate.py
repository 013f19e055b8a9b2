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
decode_vision: {cpus: 0.2}
vision: {cpus: 0.2}
language: {cpus: 0.2}
decode_pixel: {cpus: 0.2}
pixel: {cpus: 0.2}
device: cpu
stall: 120.0
name: alone
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


@pytest.mark.parametrize(("task", "cases", "videos"), [("gcg", 4, 4), ("mevis", 3, 1)])
def test_a_set_from_disk_to_its_report(task: str, cases: int, videos: int, root: Path, tmp_path: Path, model: Path) -> None:
    done = run(task, root, tmp_path / "one", model)
    assert (done.cases, done.failed) == (cases, 0)
    rows = list(annotation.read(tmp_path / "one" / "answers"))
    assert len(rows) == cases
    assert all(row.answer is not None and len(row.answer.tracks) == 2 for row in rows)
    assert done.body is not None
    first = done.body["sections"][0]["rows"][0]
    assert 0 <= first["corrected"]["value"] <= 100
    assert first["corrected"]["n"] == cases
    bytes_of = {name: path.read_bytes() for name, path in done.files.items()}
    assert done.body["provenance"]["model"] == checkpoint.identity(model)

    again = run(task, root, tmp_path / "one", model)
    assert {name: path.read_bytes() for name, path in again.files.items()} == bytes_of
    summary = json.loads((tmp_path / "one" / "answers" / "summary.json").read_text())
    assert (summary["this_run"]["videos"], summary["this_run"]["done_before"]) == (0, videos)

    elsewhere = run(task, root, tmp_path / "two", model)
    assert {name: path.read_bytes() for name, path in elsewhere.files.items()} == bytes_of
