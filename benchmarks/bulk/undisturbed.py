"""What the subjects about killed processes share: 60 videos, the rows of an undisturbed run, and how to compare with them."""

from __future__ import annotations

import atexit
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one, told
from benchmarks.bulk.model import resolved
from benchmarks.measure import Spread
from benchmarks.report import Row
from ray_jobs.annotate.front import TINY_DESCRIBE as QUESTION
from ray_jobs.annotate.run import annotate
from vglamm.annotation import Annotation

VIDEOS, FRAMES = 60, 48
SHORT_VIDEOS, SHORT_FRAMES = 12, 24


@dataclass(frozen=True)
class Calm:
    """videos: a folder of ``count`` clips. model: a checkpoint; what: it is. rows: what an undisturbed run wrote, without times.
    seconds: that it took. scratch: a folder for everything else."""

    videos: Path
    count: int
    frames: int
    model: str
    what: str
    rows: list[Annotation]
    seconds: float
    scratch: Path

    def told(self) -> str:
        return f"{self.what}; {self.count} clips of {self.frames} frames, a mask for every frame"

    def compared(self, out: Path) -> tuple[Row, ...]:
        """Ids that are lost or there twice in a disturbed run, and rows that differ from those of the undisturbed one."""
        found = told(out)
        ids, wanted = [row.id for row in found], [row.id for row in self.rows]
        same = sum(one == other for one, other in zip(found, self.rows, strict=False))
        return (
            counted("ids lost", len(set(wanted) - set(ids)), at_most=0),
            counted("ids there twice, or not asked for", len(ids) - len(set(ids) & set(wanted)), at_most=0),
            counted("rows that differ in more than times", len(wanted) - same, at_most=0),
        )


@cache
def calm(model: str, short: bool) -> Calm:
    """Made once for all subjects of a run; its files live as long as the process."""
    kept = tempfile.TemporaryDirectory(prefix="vglamm-soak-")
    atexit.register(kept.cleanup)
    scratch, (count, frames) = Path(kept.name), (SHORT_VIDEOS, SHORT_FRAMES) if short else (VIDEOS, FRAMES)
    chosen, what = resolved(model, scratch / "model")
    write_clips(scratch / "videos", count, frames=frames)
    with rays.one_node():
        summary = annotate(bulk_job(scratch / "videos", chosen, scratch / "calm", QUESTION, profile=one_by_one(SMALL)))
    return Calm(scratch / "videos", count, frames, chosen, what, told(scratch / "calm"), summary.seconds, scratch)


def counted(what: str, number: float, unit: str = "", *, at_least: float | None = None, at_most: float | None = None) -> Row:
    """One count, held to a goal."""
    return Row(what, Spread(number, number, number), unit, at_least, at_most)


def joined(rows: list[tuple[Row, ...]]) -> tuple[Row, ...]:
    """The sums of counts that several runs gave, in the same order."""
    return tuple(
        counted(
            same[0].what, sum(row.found.median for row in same), same[0].unit, at_least=same[0].at_least, at_most=same[0].at_most
        )
        for same in zip(*rows, strict=True)
    )
