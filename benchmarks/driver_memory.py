"""Whether the driver of a bulk job needs more memory the more rows there are. The driver is a process of its own, which tells what
it held: ``python -m benchmarks.driver_memory VIDEOS MODEL OUT QUESTIONS``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import SMALL, bulk_job
from benchmarks.bulk.model import resolved
from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from ray_jobs.annotate.front import TINY_SEGMENT
from ray_jobs.annotate.run import annotate
from ray_jobs.annotate.summary import Progress
from vglamm.data.world.words import SHAPES

GOAL = 1.05
EARLY = 0.1
"""Of the rows; from then on the driver's memory has to stay. All that is read once is there by then."""


def held_mb() -> float:
    """Memory that this process holds now."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 2**10


def drive(videos: Path, model: str, out: Path, questions: int) -> list[tuple[int, float]]:
    """(rows done, MB held) about once a second."""
    looks: list[tuple[int, float]] = []
    asked = [TINY_SEGMENT.format(name=SHAPES[n % len(SHAPES)]) for n in range(questions)]

    def look(progress: Progress) -> None:
        looks.append((progress.done * questions, held_mb()))

    with rays.one_node():
        annotate(bulk_job(videos, model, out, *asked, profile=SMALL, part=64), look)
    return looks


def growth(looks: list[tuple[int, float]], rows: int) -> float:
    """Memory in the last tenth of the rows / when the first were done, each the most of its time."""
    early = [mb for done, mb in looks if EARLY * rows <= done < 2 * EARLY * rows]
    late = [mb for done, mb in looks if done >= (1 - EARLY) * rows]
    if not early or not late:
        raise SystemExit(f"{len(looks)} looks at {rows} rows are too few: ask for more rows")
    return max(late) / max(early)


def run(*, rounds: int, model: str = "tiny", videos: int = 200, questions: int = 10, frames: int = 8) -> Section:
    if not Path("/proc/self/status").exists():
        return Section("Bulk annotation: memory of the driver", "Skipped: this system has no /proc to read it from.", ())
    rows, grown, most = videos * questions, [], []
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as name:
        folder = Path(name)
        chosen, what = resolved(model, folder / "model")
        write_clips(folder / "videos", videos, frames=frames)
        for round_ in range(rounds):
            words = (folder / "videos", chosen, folder / f"out-{round_}", questions)
            command = [sys.executable, "-m", "benchmarks.driver_memory", *map(str, words)]
            done = subprocess.run(command, cwd=rays.ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
            looks = json.loads(done.stdout.splitlines()[-1])
            grown.append(growth(looks, rows))
            most.append(max(mb for _, mb in looks))
    how = (
        f"{what}, {rows} rows: {videos} clips of {frames} frames with {questions} questions each. Memory held by the driver in "
        f"the last tenth of the rows / in the second, read every second; {rounds} rounds."
    )
    found = (Row(f"driver at {rows} rows / at {EARLY * rows:.0f}", Spread.of(grown), "x", at_most=GOAL),)
    return Section("Bulk annotation: memory of the driver", how, found, (("most held by the driver", Spread.of(most).text(" MB")),))


if __name__ == "__main__":
    told = drive(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    sys.stdout.write(json.dumps(told) + "\n")
