"""Killing actors of a running job: one whose pool is whole, once a row has finished since the last kill."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Collection
from pathlib import Path

from ray_jobs.annotate.summary import Progress


class Killer:
    """To be told about progress by :func:`ray_jobs.annotate.run.annotate`. SIGKILL for actors of ``stages``, each a pool of one
    actor, until ``times`` of them died. done: videos that had finished at each kill."""

    def __init__(self, stages: Collection[str], times: int, seed: int = 0) -> None:
        self.stages, self.times, self.chance = stages, times, random.Random(seed)
        self.done: list[int] = []
        self.killed: set[int] = set()

    def __call__(self, progress: Progress) -> None:
        if len(self.done) >= self.times or progress.done <= (self.done[-1] if self.done else 0):
            return
        # An actor that took the place of a killed one is known by its process id as soon as it has done a video.
        there = {
            name: [pid for _, pid in sorted(tally.workers) if pid not in self.killed and Path(f"/proc/{pid}").exists()]
            for name, tally in progress.stages.items()
        }
        if pids := [pid for name in self.stages for pid in there.get(name, ())]:
            pid = self.chance.choice(pids)
            os.kill(pid, signal.SIGKILL)
            self.killed.add(pid)
            self.done.append(progress.done)
