"""Bulk annotation on a real Ray: every input ends as one row, the rows are those of `ask`, and a second run does nothing."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vglamm
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one, told
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.profile import Pool, Profile
from ray_jobs.annotate.run import annotate, pipeline
from ray_jobs.annotate.stall import StallGuard
from tests.integration import bulk
from tests.integration.bulk import clips
from vglamm import annotation
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.places import Place

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    clips(folder, 5)
    (folder / "empty.mp4").touch()
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.mark.parametrize(
    "profile", [SMALL, pytest.param(replace(SMALL, layout="whole"), marks=pytest.mark.slow)], ids=["split", "whole"]
)
def test_rows_are_bit_for_bit_what_ask_says_and_nothing_is_lost(
    talker: Path, videos: Path, tmp_path: Path, profile: Profile
) -> None:
    alone = replace(profile, vision=Pool(cpus=0.2), language=Pool(cpus=0.2), whole=Pool(cpus=0.4))
    job = bulk_job(videos, talker, tmp_path / "out", "who?", profile=alone)
    summary = annotate(job)
    rows = list(annotation.read(tmp_path / "out"))
    assert [row.position for row in rows] == list(range(7))
    assert summary.rows == {"failed: VideoUnreadable": 1, "ok": 5, "skipped": 1}
    walk = vglamm.load(talker)
    for row in (row for row in rows if row.status == "ok"):
        said = walk.ask(row.uri, row.question, every_frame=True)
        assert row.answer is not None
        assert replace(row.answer, timings={}) == replace(said, timings={})
        assert set(row.answer.timings) == {"decode", "vision", "language", "frames", "pixel"}
    again = annotate(job)
    assert (again.done, again.rows) == (0, summary.rows)
    assert list(annotation.read(tmp_path / "out")) == rows


@pytest.mark.slow
def test_questions_of_a_video_share_its_passes_and_its_batches(talker: Path, videos: Path, tmp_path: Path) -> None:
    annotate(bulk_job(videos, talker, tmp_path / "out", "who?", "what moves?", "x" * 5000))
    rows = list(annotation.read(tmp_path / "out"))
    assert [row.id for row in rows[:3]] == ["clip-000.mp4", "clip-000.mp4#2", "clip-000.mp4#3"]
    assert [row.status for row in rows[:3]] == ["ok", "ok", "failed"]
    assert rows[2].error_type == "DialogueError"
    for row in rows:
        if row.answer is not None:
            assert row.answer.text == vglamm.load(talker).ask(row.uri, row.question).text
            assert len(row.answer.tracks) == len(row.answer.phrases) == 2


def test_another_question_is_another_run(talker: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = bulk_job(videos, talker, out, "who?")
    (out / "run.json").write_text(json.dumps({"format": "vglamm.annotations", "version": 1, "part": 4, **first.identity()}))
    with pytest.raises(ConfigError, match="another run"):
        annotate(bulk_job(videos, talker, out, "why?"))


@pytest.mark.slow
def test_a_mended_video_is_asked_again_and_nothing_else(talker: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "out"
    good = clips(folder, 2)
    bad = folder / "bad.mp4"
    bad.touch()
    job = bulk_job(folder, talker, out, "who?", "what moves?", profile=one_by_one(SMALL))
    assert annotate(job).rows == {"failed: VideoUnreadable": 2, "ok": 4}
    before = list(annotation.read(out))
    shutil.copy(good[0], bad)
    summary = annotate(replace(job, retry=True))
    assert (summary.done, summary.rows) == (1, {"ok": 6})
    after = list(annotation.read(out))
    assert after[2:] == before[2:], "times included"
    assert [row.id for row in after] == [row.id for row in before]
    for mended, row in zip(after[:2], after[2:4], strict=True):
        assert mended.answer is not None
        assert row.answer is not None
        assert mended.answer.text == row.answer.text


@pytest.mark.slow
def test_rows_that_cannot_be_written_end_the_job_with_the_reason_and_are_not_lost_workers(
    talker: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "rows").symlink_to(tmp_path / "disk that is not mounted")
    job = bulk_job(videos, talker, out, "who?")
    job = replace(job, manifest=job.manifest.limit(6))  # without the one whose row the driver writes
    with pytest.raises(EnvironmentProblem, match=r"rows/0000000\d\.parquet, which cannot be written \(File exists\)"):
        annotate(job)
    assert not list(out.glob("part-*"))
    (out / "rows").unlink()
    assert annotate(job).rows == {"failed: VideoUnreadable": 1, "ok": 5}


@pytest.mark.slow
def test_who_is_tried_alone_waits_behind_no_other(talker: Path, videos: Path, tmp_path: Path) -> None:
    """An actor takes all that wait at it along when it dies, and each such death is counted against each of them."""
    job = bulk_job(videos, talker, tmp_path / "out")
    ledger = Ledger(Place.of(job.out), job.part, job.manifest.extra)
    for alone, waiting in ((True, 1), (False, None)):
        stage: Any = pipeline(job, ledger, list(job.manifest.jobs), None, alone)._logical_plan.dag
        for pool in reversed(tuple(job.profile.pools.values())):
            assert (stage.compute.max_size, stage.compute.max_tasks_in_flight_per_actor) == (pool.actors[1], waiting)
            [stage] = stage.input_dependencies


@pytest.mark.slow
def test_a_run_that_is_taken_up_again_forms_the_same_batches(talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.annotate.run.Actor", bulk.Telling)
    clips(tmp_path / "videos", 5)
    (tmp_path / "videos" / "clip-001.txt").write_text("not a video")  # position 2, between two that are
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    annotate(bulk_job(tmp_path / "videos", talker, calm, part=1))

    def batches(out: Path) -> list[list[int]]:
        """In the order of the manifest: which of two comes first is up to Ray."""
        return sorted(json.loads(line) for line in bulk.told_batches(out, "language").read_text().splitlines())

    assert batches(calm) == [[0, 1], [2, 3], [4, 5]]
    shutil.copytree(calm, torn)
    for number in (3, 5):
        (torn / f"part-{number:05d}.parquet").unlink()
    kept = {path.name: path.read_bytes() for path in torn.glob("part-*")}
    summary = annotate(bulk_job(tmp_path / "videos", talker, torn, part=1))
    assert batches(torn) == [[2, 3], [4, 5]]
    assert (summary.done, summary.tallies["language"].done, summary.tallies["decode"].failed) == (2, 2, 0), "without the fillers"
    assert {name: (torn / name).read_bytes() for name in kept} == kept
    assert told(torn) == told(calm)


@pytest.mark.slow
def test_a_video_may_take_long_but_nothing_may_hang(talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, stall = tmp_path / "out", 8.0
    mark = bulk.begun_mark(out)
    clips(tmp_path / "videos", 1, frames=36)

    def since_pixel_began() -> float:
        return max(time.time() - mark.stat().st_mtime, 0.0) if mark.exists() else 0.0

    monkeypatch.setattr(StallGuard.__init__, "__defaults__", (since_pixel_began,))
    job = bulk_job(tmp_path / "videos", talker, out, profile=replace(one_by_one(SMALL), stall=stall))
    monkeypatch.setattr("ray_jobs.annotate.run.Actor", bulk.Hung)
    with pytest.raises(EnvironmentProblem, match="no progress of any stage for 8 s"):
        annotate(job)
    mark.unlink()
    monkeypatch.setattr("ray_jobs.annotate.run.Actor", bulk.Slow)
    summary = annotate(job)
    assert summary.rows == {"ok": 1}
    assert summary.tallies["pixel"].seconds > stall
