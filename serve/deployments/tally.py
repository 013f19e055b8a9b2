"""The one place that hears of every request: sums by the minute, in MLflow and for who asks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

from ray import serve as ray_serve

from serve.backends.failures import RAISED
from serve.setup import Setup
from serve.tally import Note, Sums
from serve.tracking import Run, weights
from vglamm.errors import EnvironmentProblem, VglammError
from vglamm.identity import identity

log = logging.getLogger(__name__)


class Tally:
    """tracking: MLflow, "local", "off" or the address of a server. folder: of local books. config: what the run is told of its
    start. period: seconds between two summaries."""

    def __init__(self, setup: Setup, tracking: str, folder: str, config: dict[str, Any], period: float = 60.0) -> None:
        self.setup, self.period = setup, period
        self.total, self.minute, self.step = Sums(), Sums(), 0
        self.run = None
        if tracking != "off":
            models = {
                name: {"source": source, "identity": identity(weights(source, setup.registry))} for name, source in setup.models
            }
            hashes = {f"model.{name}": told["identity"] for name, told in models.items()}
            name = f"{setup.profile.name}-{setup.names[0]}"
            self.run = Run(tracking, Path(folder), name, config | {"models": models}, hashes)
        self.task = asyncio.get_event_loop().create_task(self._minutes())

    async def note(self, notes: list[Note]) -> None:
        for note in notes:
            self.total.add(note)
            self.minute.add(note)

    async def read(self) -> dict[str, Any]:
        """The sums since the start, and the run's id."""
        failures = dict(self.total.failures)
        return {"numbers": self.total.numbers(), "failures": failures, "run": None if self.run is None else self.run.id}

    async def _minutes(self) -> None:
        while True:
            await asyncio.sleep(self.period)
            try:
                await self._log()
            except (EnvironmentProblem, *RAISED):  # the next minute may go better, and it tells of both
                log.exception("a minute was not logged")

    async def _log(self) -> None:
        """The sums since the last time that this went well."""
        if self.run is None:
            return
        told, counts = self.minute, await asyncio.to_thread(_replicas)
        self.minute = Sums()
        replicas = {f"replicas/{name}": float(count) for name, count in counts.items()}
        try:
            await asyncio.to_thread(self.run.log, told.numbers() | replicas, self.step + 1)
        except EnvironmentProblem:
            self.minute = told.joined(self.minute)
            raise
        self.step += 1

    async def check_health(self) -> None:
        if self.task.done():
            raise VglammError("a tally that does not log any more", "one that works", "it is replaced")

    async def __del__(self) -> None:
        """Serve waits for this when it ends the application."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        if self.run is not None:
            run, self.run = self.run, None
            await asyncio.to_thread(run.log, self.total.numbers(), self.step + 1)
            await asyncio.to_thread(run.close, {"numbers": self.total.numbers(), "failures": dict(self.total.failures)})


def _replicas() -> dict[str, int]:
    """Replicas that run now, by deployment."""
    found: dict[str, int] = {}
    for application in ray_serve.status().applications.values():
        for name, deployment in application.deployments.items():
            found[name] = deployment.replica_states.get("RUNNING", 0)
    return found
