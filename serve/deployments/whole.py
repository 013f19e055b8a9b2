"""All three parts and decode in one replica: for a machine with one device."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from serve.backends.inprocess import InProcess
from serve.backends.kept import Bounds
from serve.contract import Ask, Correct, Done, Event, VideoFacts
from serve.deployments.station import Station
from serve.setup import Setup
from serve.tracking import weights
from vglamm.walk import load


class Whole:
    """The backend of one process as a deployment. All models are loaded when it starts."""

    def __init__(self, setup: Setup) -> None:
        profile = setup.profile
        self.station = Station(profile, profile.whole)
        walks = {
            name: load(weights(source, setup.registry), device=self.station.device, dtype=profile.dtype, quantise=profile.quantise)
            for name, source in setup.models
        }
        self.station.stand_back()
        bounds = Bounds(profile.sessions, profile.session_bytes, profile.session_seconds)
        part = profile.whole
        self.inner = InProcess(walks, setup.spool, limits=setup.limits, bounds=bounds, rows=part.rows, tokens=part.batch)

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        async with aclosing(self._counted(self.inner.stream(ask))) as events:
            async for event in events:
                yield event

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        async with aclosing(self._counted(self.inner.correct(correction))) as events:
            async for event in events:
                yield event

    async def _counted(self, inner: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        self.station.gauge.take(1)
        try:
            async with aclosing(inner) as events:
                async for event in events:
                    if isinstance(event, Done):  # only then have all parts worked
                        self.station.prove()
                    yield event
        finally:
            self.station.gauge.done(1)

    async def probe(self, video: str) -> VideoFacts:
        return await self.inner.probe(video)

    async def forget(self, session: str, place: str = "") -> None:
        await self.inner.forget(session)

    async def where(self) -> dict[str, Any]:
        return self.station.where()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self.station.gauge.told()

    async def check_health(self) -> None:
        """All parts work within the time that Serve allows, or did so lately."""
        if not self.station.proved:
            await self.inner.check()
            self.station.prove()

    def __del__(self) -> None:
        self.inner.close()
        self.station.close()
