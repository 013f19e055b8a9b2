"""What a job did and how fast: counts of this run and of the whole folder, throughput, and what each stage waited."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ray_jobs.annotate.board import Tally

if TYPE_CHECKING:
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.run import BulkJob

STAGES = ("decode", "vision", "language", "pixel")
MADE = {
    "decode": ("seen",),
    "vision": ("seen",),
    "language": ("tokens",),
    "pixel": ("frames", "masks"),
    "endpoint": ("seen", "tokens", "frames", "masks"),
}
"""What the work of a stage is counted in. seen: frames that the language model sees. frames: those that get masks. endpoint: all
stages, somewhere else."""


_NAMED, _SHOWN = 100, 5
"""Names that the file of a summary has, and that people are shown."""


@dataclass(frozen=True)
class Progress:
    """A moment of a run. videos: to do in this run. done: of them. stages: tallies so far. seconds: since the start."""

    videos: int
    done: int
    failed: int
    stages: dict[str, Tally]
    seconds: float

    @property
    def names(self) -> tuple[str, ...]:
        """Stages in the order of the walk: those of a job here, or the one that stands for a server's."""
        return ("endpoint",) if "endpoint" in self.stages else STAGES

    @property
    def left_seconds(self) -> float | None:
        """Time to the end at the pace so far; None before anything is done."""
        return (self.videos - self.done) * self.seconds / self.done if self.done else None

    def _queued(self, number: int) -> int:
        """Videos before a stage. What is done again is noted again, so that the differences may be below 0."""
        before = self.stages.get(self.names[number - 1]) if number else None
        return max((before.done if before else self.videos) - self.stages[self.names[number]].done, 0)

    def to_tree(self) -> dict[str, Any]:
        """One JSON line."""
        names = self.names
        stages = {
            name: {
                "done": tally.done,
                "queued": self._queued(n),
                "failed": tally.failed,
                "per_second": round(tally.done / max(tally.last - tally.first, 1e-9), 3),
            }
            for n, name in enumerate(names)
            if (tally := self.stages.get(name))
        }
        left = self.left_seconds
        told = {"videos": self.videos, "done": self.done, "failed_rows": self.failed, "seconds": round(self.seconds, 1)}
        return told | {"left_seconds": None if left is None else round(left, 1), "stages": stages}


@dataclass
class Summary:
    """Filled while a job runs. Counts are of this run, ``rows`` of the whole folder; None is what nobody counts. skipped: addresses
    of what is no video by its name."""

    model: str
    config: str
    profile: str
    videos: int
    before: int
    skipped: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    counts: dict[str, int | None] = field(
        default_factory=lambda: dict.fromkeys(("rows", "failed", "phrases", "seen", "tokens", "frames", "masks"), 0)
    )
    spent: dict[str, float] = field(default_factory=dict)
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @staticmethod
    def begun(job: BulkJob, jobs: Collection[Job], done: Collection[int]) -> Summary:
        model = job.identity()["settings"]["model"]
        skipped = tuple(one.uri for one in jobs if one.skipped)
        return Summary(model, job.config, job.profile.name, len(jobs), len(done), skipped)

    def add(self, told: dict[str, Any]) -> None:
        """A video's receipt."""
        self.done += 1
        for name, count in self.counts.items():
            self.counts[name] = None if count is None or told[name] is None else count + told[name]
        for stage, seconds in told["timings"].items():
            self.spent[stage] = self.spent.get(stage, 0.0) + seconds
        for stage, where in told["where"].items():
            self.workers[f"{stage} {where['node'][:8]} {where['pid']}"] = {"stage": stage, **where}

    def lose(self, rows: int) -> None:
        """A video whose workers died."""
        self.done += 1
        for name in ("rows", "failed"):
            self.counts[name] = self._count(name) + rows

    def _count(self, name: str) -> int:
        return self.counts[name] or 0

    def _pace(self, name: str, seconds: float) -> float | None:
        count = self.counts[name]
        return None if count is None else round(count / max(seconds, 1e-9), 3)

    def finish(self, rows: dict[str, int]) -> None:
        self.seconds, self.rows = time.monotonic() - self.began, rows

    def progress(self, stages: dict[str, Tally]) -> Progress:
        """Receipts of videos that share batches come in the order of the manifest: until then the stage that ends them tells."""
        videos, seconds = self.videos - self.before, time.monotonic() - self.began
        told = min(stages["pixel"].done, videos) if "pixel" in stages else 0
        return Progress(videos, max(self.done, told), self._count("failed"), stages, seconds)

    @property
    def failed(self) -> int:
        """Rows of the folder."""
        return sum(count for name, count in self.rows.items() if name.startswith("failed"))

    @property
    def failed_share(self) -> float:
        """Of all rows in the folder."""
        total = sum(self.rows.values())
        return self.failed / total if total else 0.0

    def to_tree(self) -> dict[str, Any]:
        """JSON. per_second: over the wall time of this run; of a stage, over the time between its first and its last work. waiting:
        share of the run's wall time in which its workers did none."""
        stages = {
            name: {
                "videos": tally.done,
                "workers": len(tally.workers),
                "busy_seconds": round(tally.seconds, 3),
                "per_second": {what: self._pace(what, tally.last - tally.first) for what in MADE[name]},
                "waiting": round(1 - min(tally.seconds / max(self.seconds * len(tally.workers), 1e-9), 1.0), 4),
            }
            for name, tally in self.tallies.items()
        }
        return {
            "model": self.model,
            "config": self.config,
            "profile": self.profile,
            "rows": self.rows,
            "failed_share": round(self.failed_share, 6),
            "skipped": {"count": len(self.skipped), "endings": _endings(self.skipped), "names": list(self.skipped[:_NAMED])},
            "this_run": {
                "videos": self.done,
                "done_before": self.before,
                **self.counts,
                "seconds": round(self.seconds, 3),
                "per_second": {name: self._pace(name, self.seconds) for name in ("frames", "tokens", "masks")}
                | {"videos": round(self.done / max(self.seconds, 1e-9), 3)},
                "seconds_by_stage": {name: round(value, 3) for name, value in sorted(self.spent.items())},
            },
            "stages": stages,
            "workers": sorted(self.workers.values(), key=lambda w: (w["stage"], w["node"], w["pid"])),
        }


def unlike(names: Sequence[str]) -> str:
    """Files that are no video by their names, for people: how many of which ending, and the first of them."""
    kinds = ", ".join(f"{count} {ending}" for ending, count in _endings(names).items())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} that are no video by their names ({kinds}): {', '.join(map(os.path.basename, names[:_SHOWN]))}{more}"


def _endings(names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(os.path.splitext(name.partition("?")[0])[1].lower() for name in names).most_common())
