"""A dry run counts what is missing, asks two videos, and leaves nothing behind."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ray_jobs.annotate.forecast import TRIED, forecast
from ray_jobs.annotate.front import Asked, run
from ray_jobs.annotate.stages import Settings
from tests.unit.media.clips import encode
from tests.unit.ray_jobs.annotate.test_remote import Spoken
from vglamm.errors import ConfigError, VideoUnreadable


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three clips, a folder of frames, something else and an address of nothing."""
    for number in range(3):
        encode(tmp_path / f"clip-{number}.mp4", numbers=range(3), rate=3, size=(48, 32))
    (tmp_path / "frames").mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(tmp_path / "frames" / f"{number}.png")
    uris = ["clip-0.mp4", "clip-1.mp4", "clip-2.mp4", "frames", "notes.txt", "gone.mp4"]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps({"uri": uri}) + "\n" for uri in uris))
    return tmp_path / "table.jsonl"


def asked_of(source: Path, **changed: object) -> Asked:
    values = {"questions": ("who?", "and?"), "named": None, "profile": "laptop"} | changed
    settings = Settings("nowhere", {})  # the model is on the server
    return Asked(str(source), str(source.parent / "out"), settings=settings, **values)  # type: ignore[arg-type]


def told(asked: Asked, endpoint: Spoken) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(forecast(asked, endpoint))
    return out.getvalue()


def test_all_is_counted_and_two_are_asked(source: Path) -> None:
    endpoint = Spoken()
    text = told(asked_of(source), endpoint)
    files = [path for path in source.parent.rglob("*") if path.suffix in (".mp4", ".png")]
    lines = [line.split() for line in text.splitlines()]
    assert ["videos", "5"] in lines
    assert ["rows", "10"] in lines, "without those of what is skipped"
    assert "1 that are no video by their names (1 .txt): notes.txt" in text
    assert f"{sum(path.stat().st_size for path in files):,}, and 1 not found" in text
    assert "as measured there on 2, 2 at a time as --in-flight says" in text
    assert [name for name, _ in endpoint.asked] == ["clip-0.mp4"] * 2 + ["clip-1.mp4"] * 2
    assert not (source.parent / "out").exists()


def test_what_is_done_is_not_expected_again(source: Path) -> None:
    asked = asked_of(source)
    run(asked, address=None, tracking="off", console=Console(file=io.StringIO()), endpoint=Spoken(), show=[].append)
    text = told(asked, Spoken())
    assert "0; 6 are done" in text
    assert ["rows", "0"] in [line.split() for line in text.splitlines()]
    assert "1 that are no video by their names" in text
    assert "nothing is missing" in text
    with pytest.raises(ConfigError, match="another run"):
        told(asked_of(source, questions=("why?",)), Spoken())


def test_a_job_of_which_nothing_works_is_not_tried_to_its_end(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", numbers=range(3), rate=3, size=(48, 32))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"uri": "clip.mp4", "id": f"{n}"}) + "\n" for n in range(30)))
    endpoint = Spoken()
    endpoint.fail = {"clip.mp4": VideoUnreadable("a", "b", "c")}
    assert f"none of the first {TRIED} videos" in told(asked_of(tmp_path / "t.jsonl"), endpoint)
    assert len(endpoint.options) == TRIED
