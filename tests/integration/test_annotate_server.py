"""The same manifest through a running endpoint: the rows and the folder are those of the model here.

One video at a time: questions that are written together differ in the last bits of their prompts, as in any batch.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import vglamm
from benchmarks.bulk.job import bulk_job
from ray_jobs.annotate.remote import annotate_at
from serve.backends.inprocess import InProcess
from serve.bulk import Remote
from serve.ingress import api
from serve.settings import Settings
from tests import fakes
from tests.integration.bulk import clips
from tests.unit.serve.canned import served
from vglamm import annotation

pytestmark = pytest.mark.slow


def test_rows_are_bit_for_bit_what_ask_says(talker: Path, tmp_path: Path) -> None:
    videos, spool = tmp_path / "videos", str(tmp_path / "spool")
    videos.mkdir()
    clips(videos, 2)
    (videos / "empty.mp4").touch()
    for number, pixels in enumerate(fakes.video(7)):
        (videos / "frames").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(videos / "frames" / f"{number:05d}.png")
    rows_asked = [{"uri": f"videos/{name}"} for name in ("clip-000.mp4", "clip-001.mp4", "empty.mp4")]
    rows_asked.append({"uri": "videos/frames", "source_fps": 7.0})
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_asked))
    walk = vglamm.load(talker)
    job = bulk_job(tmp_path / "table.jsonl", talker, tmp_path / "out", "who?", "what moves?")
    with (
        closing(InProcess({"fake": walk}, spool)) as backend,
        served(api(backend, Settings(spool=spool))) as url,
        closing(Remote(url, at_once=1)) as remote,
    ):
        summary = annotate_at(replace(job, model=remote.identity()), remote, lambda progress: None)
    rows = list(annotation.read(tmp_path / "out"))
    assert summary.to_tree()["this_run"]["per_second"]["tokens"] > 0, "as the server counts them"
    assert [row.status for row in rows] == ["ok"] * 4 + ["failed"] * 2 + ["ok"] * 2
    for row in (row for row in rows if row.status == "ok"):
        assert row.answer is not None
        said = walk.ask(row.uri, row.question, every_frame=True, source_fps=7.0 if row.uri.endswith("frames") else None)
        assert replace(row.answer, timings={}) == replace(said, timings={})
    claimed = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {name: claimed[name] for name in job.identity()} == job.identity()
    assert {row.config for row in rows} == {job.config}
