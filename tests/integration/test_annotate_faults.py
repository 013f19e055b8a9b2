"""What is killed, what is poisoned: every id ends as one row, equal to an undisturbed run's but for timings, and nothing hangs.

``make soak`` has the long version of each (benchmarks/soak).
"""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import av
import pytest

from benchmarks.bulk.driver import done_again, drive, waited
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one, rows_there, told
from benchmarks.bulk.kills import Killer
from benchmarks.bulk.poison import REASONS, SEGFAULTS, spoil
from ray_jobs.annotate.run import annotate
from tests import fakes
from tests.integration.bulk import clips
from vglamm import annotation
from vglamm.annotation import Annotation

pytestmark = [pytest.mark.ray, pytest.mark.fault]
VIDEOS = 12
PATIENCE = 1800.0
"""Seconds; pytest's own limit for a test comes first where there is one."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    clips(folder, VIDEOS, frames=60)  # long enough to be killed in the middle
    return folder


@pytest.fixture(scope="module")
def undisturbed(talker: Path, videos: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> list[Annotation]:
    out = tmp_path_factory.mktemp("calm") / "out"
    annotate(bulk_job(videos, talker, out, profile=one_by_one(SMALL)))
    return told(out)


def test_killed_actors_cost_no_row(
    talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation], local_ray: None
) -> None:
    job = bulk_job(videos, talker, tmp_path / "out", profile=one_by_one(SMALL))
    killer = Killer(("decode", "vision", "language", "pixel"), times=3)
    summary = annotate(job, killer)
    assert len(killer.done) == 3, f"only {len(killer.done)} kills in {summary.seconds:.0f} s"
    assert told(tmp_path / "out") == undisturbed


def test_a_killed_driver_is_taken_up_again(talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation]) -> None:
    out, chance = tmp_path / "out", random.Random(1)
    for target in sorted(chance.sample(range(1, VIDEOS - 1), 2)):
        driver = drive(videos, talker, out)
        for _ in waited(PATIENCE, f"row {target}"):
            if rows_there(out) >= target or driver.poll() is not None:
                break
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    before = rows_there(out)
    last = drive(videos, talker, out)
    assert last.wait(timeout=PATIENCE) == 0
    assert told(out) == undisturbed
    again = json.loads((out / "summary.json").read_text())["this_run"]
    assert again["done_before"] >= before - 1
    assert again["videos"] == VIDEOS - again["done_before"]


def test_a_node_that_goes_costs_no_row(talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation]) -> None:
    driver = drive(videos, talker, tmp_path / "out", "--lose-node-after", 3)
    assert driver.wait(timeout=PATIENCE) == 0
    assert told(tmp_path / "out") == undisturbed
    again, in_flight = done_again(tmp_path / "out", VIDEOS)
    assert 0 <= again <= in_flight


def test_poison_fails_with_its_reason_and_the_others_go_on(talker: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "out"
    good = clips(folder, 6)
    bad = {spoil(folder, kind, good[0]): reason for kind, reason in REASONS.items()}
    (folder / "cut.mkv").write_bytes(cut_mkv(tmp_path))
    driver = drive(folder, talker, out, "--hook", "benchmarks.bulk.poison.setup")
    assert driver.wait(timeout=PATIENCE) == 0
    rows = {row.id: row for row in annotation.read(out)}
    assert {name: row.error_type for name, row in rows.items() if row.status == "failed"} == bad
    assert "SIGSEGV" in (rows[f"bad-{SEGFAULTS}"].error or "")
    cut = rows["cut.mkv"].answer
    assert cut is not None
    assert cut.sampling.truncated
    assert any("truncated" in warning for warning in cut.warnings)
    assert sum(row.status == "ok" for row in rows.values()) == 7


def cut_mkv(folder: Path) -> bytes:
    path = folder / "whole.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=6, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in fakes.video(24):
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    data = path.read_bytes()
    return data[: len(data) * 2 // 3]
