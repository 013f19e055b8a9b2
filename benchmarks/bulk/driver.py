"""A driver in a process of its own, to be killed, watched or left alone:
``python -m benchmarks.bulk.driver VIDEOS MODEL OUT [--question Q] [--part N] [--hook CALL] [--lose-node-after N]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bulk.rays import ROOT

LOST_NONE = 3
"""Exit status if the job was over before a node could be removed."""


def drive(videos: Path, model: object, out: Path, *options: object) -> subprocess.Popen[bytes]:
    """Start one, in a session of its own. options: as above."""
    words = [sys.executable, "-m", "benchmarks.bulk.driver", videos, model, out, *options]
    return subprocess.Popen([str(word) for word in words], cwd=ROOT, env=dict(os.environ), start_new_session=True)


def waited(seconds: float, what: str) -> Iterator[None]:
    """Polls until a deadline, which is an error. what: is waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(0.1)
    raise TimeoutError(f"{what} did not happen in {seconds:.0f} s")


def when_lost(out: Path) -> Path:
    """Where a driver tells how many videos each stage had done when the node went."""
    return out.with_name(f"{out.name}-lost.json")


def done_again(out: Path, videos: int) -> tuple[int, int]:
    """Of a job that lost a node: how often a stage did a video again, all stages together, and for how many that is due: those in
    flight then, which a stage had done and pixel had not, and one that each stage was at work on."""
    before = json.loads(when_lost(out).read_text())
    after = {name: stage["videos"] for name, stage in json.loads((out / "summary.json").read_text())["stages"].items()}
    in_flight = sum(done - before.get("pixel", 0) for done in before.values()) + len(after)
    return sum(done - videos for done in after.values()), in_flight


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk.driver", description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--question", default="who?")
    parser.add_argument("--part", type=int, default=4)
    parser.add_argument("--hook", help="what workers call when they start")
    parser.add_argument("--lose-node-after", type=int, help="be on three nodes, and remove one after so many videos")
    given = parser.parse_args()
    from benchmarks.bulk import rays
    from benchmarks.bulk.job import SMALL, bulk_job, one_by_one
    from ray_jobs.annotate.run import annotate
    from ray_jobs.annotate.summary import Progress

    job = bulk_job(given.videos, given.model, given.out, given.question, profile=one_by_one(SMALL), part=given.part)
    if given.lose_node_after is None:
        with rays.one_node(hook=given.hook):
            annotate(job)
        return 0
    removed = []
    with rays.three_nodes() as [cluster, lost, _]:

        def remove(progress: Progress) -> None:
            if progress.done >= given.lose_node_after and not removed:
                removed.append(progress.done)
                when_lost(given.out).write_text(json.dumps({name: tally.done for name, tally in progress.stages.items()}))
                cluster.remove_node(lost, allow_graceful=False)

        annotate(job, remove)
    return 0 if removed else LOST_NONE


if __name__ == "__main__":
    raise SystemExit(main())
