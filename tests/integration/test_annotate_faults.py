"""What is killed, what is poisoned: every id ends as one row, equal to an undisturbed run's but for timings, and nothing hangs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from ray_jobs.annotate.profile import Profile
from ray_jobs.annotate.run import annotate
from ray_jobs.annotate.summary import Progress
from tests import fakes
from tests.integration.bulk import SMALL, bulk_job, clips
from tests.integration.poison import HANGS, KILLS_ACTOR, SEGFAULTS
from vglamm import annotation
from vglamm.annotation import Annotation

pytestmark = [pytest.mark.ray, pytest.mark.fault]
VIDEOS = 12


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    clips(folder, VIDEOS, frames=60)  # long enough to be killed in the middle
    return folder


def told(out: Path) -> list[Annotation]:
    """Rows without what may differ: times."""
    rows = list(annotation.read(out))
    for row in rows:
        if row.answer is not None:
            row.answer.timings.clear()
    return rows


def one_by_one(profile: Profile) -> Profile:
    """Batches of one: equal rows whatever came together."""
    return replace(profile, vision=replace(profile.vision, batch=1), language=replace(profile.language, batch=1))


@pytest.fixture(scope="module")
def undisturbed(talker: Path, videos: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> list[Annotation]:
    out = tmp_path_factory.mktemp("calm") / "out"
    annotate(bulk_job(videos, talker, out, profile=one_by_one(SMALL)))
    return told(out)


def test_killed_actors_cost_no_row(
    talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation], local_ray: None
) -> None:
    job = bulk_job(videos, talker, tmp_path / "out", profile=one_by_one(SMALL))
    chance, killed, finished = random.Random(0), [], [0]

    def kill(progress: Progress) -> None:
        """One actor of any stage that has one, once a row has finished since the last kill (so its pool is whole again)."""
        pids = [pid for tally in progress.stages.values() for _, pid in sorted(tally.workers) if Path(f"/proc/{pid}").exists()]
        if len(killed) < 3 and progress.done > finished[-1] and pids:
            os.kill(chance.choice(pids), signal.SIGKILL)
            killed.append(progress.done)
            finished.append(progress.done)

    summary = annotate(job, kill)
    assert len(killed) == 3, f"only {len(killed)} kills in {summary.seconds:.0f} s"
    assert told(tmp_path / "out") == undisturbed


DRIVER = """
import sys
from pathlib import Path
import ray
from ray_jobs.annotate.run import annotate
from tests.integration.bulk import SMALL, bulk_job
from tests.integration.test_annotate_faults import one_by_one
hook = {"worker_process_setup_hook": sys.argv[4]} if len(sys.argv) > 4 else {}
small = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 200 * 1024**2, "log_to_driver": False}
ray.init(address="local", runtime_env=hook, **small)
annotate(bulk_job(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), profile=one_by_one(SMALL)))
"""


def drive(videos: Path, talker: Path, out: Path, repository: Path, *hook: str) -> subprocess.Popen[bytes]:
    """A process with a Ray of its own that does the job. hook: what its workers call when they start."""
    words = [sys.executable, "-c", DRIVER, str(videos), str(talker), str(out), *hook]
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(repository)}, start_new_session=True)


def rows_there(out: Path) -> int:
    return len(list((out / "rows").glob("*.parquet"))) + 4 * len(list(out.glob("part-*.parquet")))


def waited(until: float) -> Iterator[None]:
    """Polls until a deadline, which fails the test."""
    while time.monotonic() < until:
        yield
        time.sleep(0.1)
    pytest.fail("nothing happened before the deadline")


def test_a_killed_driver_is_taken_up_again(
    talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation], repository: Path
) -> None:
    out, chance = tmp_path / "out", random.Random(1)
    for target in sorted(chance.sample(range(1, VIDEOS - 1), 2)):
        driver = drive(videos, talker, out, repository)
        for _ in waited(time.monotonic() + 240):
            if rows_there(out) >= target or driver.poll() is not None:
                break
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    before = rows_there(out)
    last = drive(videos, talker, out, repository)
    assert last.wait(timeout=900) == 0
    assert told(out) == undisturbed
    again = json.loads((out / "summary.json").read_text())["this_run"]
    assert again["done_before"] >= before - 1
    assert again["videos"] == VIDEOS - again["done_before"]


NODES = """
import sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from ray_jobs.annotate.run import annotate
from tests.integration.bulk import SMALL, bulk_job
from tests.integration.test_annotate_faults import one_by_one
small = {"num_cpus": 1, "object_store_memory": 120 * 1024**2}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
nodes = [cluster.add_node(**small) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
removed = []

def remove(progress):
    if progress.done >= 3 and not removed:
        removed.append(nodes[0])
        cluster.remove_node(nodes[0], allow_graceful=False)

try:
    annotate(bulk_job(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), profile=one_by_one(SMALL)), remove)
finally:
    ray.shutdown()
    cluster.shutdown()
sys.exit(0 if removed else 3)
"""


def test_a_node_that_goes_costs_no_row(
    talker: Path, videos: Path, tmp_path: Path, undisturbed: list[Annotation], repository: Path
) -> None:
    words = [sys.executable, "-c", NODES, str(videos), str(talker), str(tmp_path / "out")]
    assert subprocess.run(words, timeout=600, check=False, env=os.environ | {"PYTHONPATH": str(repository)}).returncode == 0
    assert told(tmp_path / "out") == undisturbed


def test_poison_fails_with_its_reason_and_the_others_go_on(talker: Path, tmp_path: Path, repository: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "out"
    good = clips(folder, 6)
    (folder / "bad-empty.mp4").touch()
    (folder / "bad-noise.mp4").write_bytes(random.Random(0).randbytes(50_000))
    whole = good[0].read_bytes()  # ftyp, moov, mdat
    (folder / "bad-moov.mp4").write_bytes(whole[: whole.index(b"moov") - 4] + whole[whole.index(b"mdat") - 4 :])
    (folder / "bad-bomb.png").write_bytes(bomb())
    write_sound(folder / "bad-sound.mp4")
    for name in SEGFAULTS, HANGS, KILLS_ACTOR:  # tests.integration.poison makes what their names say of them
        shutil.copy(good[0], folder / name)
    (folder / "cut.mkv").write_bytes(cut_mkv(tmp_path))
    driver = drive(folder, talker, out, repository, "tests.integration.poison.setup")
    assert driver.wait(timeout=900) == 0
    rows = {row.id: row for row in annotation.read(out)}
    assert {name: row.error_type for name, row in rows.items() if row.status == "failed"} == {
        "bad-empty.mp4": "VideoUnreadable",
        "bad-noise.mp4": "VideoUnreadable",
        "bad-moov.mp4": "VideoUnreadable",
        "bad-sound.mp4": "VideoUnreadable",
        "bad-bomb.png": "VideoTooLarge",
        SEGFAULTS: "VideoUnreadable",
        HANGS: "VideoTooLarge",
        KILLS_ACTOR: "WorkerLost",
    }
    assert "SIGSEGV" in (rows[SEGFAULTS].error or "")
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


def write_sound(path: Path) -> None:
    """An mp4 with a second of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)


def bomb() -> bytes:
    """A PNG of 16000 x 16000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16000, 16000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2001 * 16000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
