"""Frames -> visual tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
from ray import serve as ray_serve

from serve.backends.kept import Bounds, Kept
from serve.backends.wire import Film, Look, Watched
from serve.deployments.station import OTHERS, Station
from serve.setup import Setup
from serve.tracking import weights
from vglamm.errors import WorkerLost
from vglamm.identity import load_config
from vglamm.records import VisionInput
from vglamm.steps.vision import VisionStep


def _frames(looks: list[Look]) -> int:
    return sum(len(look.given.spatial) for look in looks)


class Vision:
    """Looks at several videos in one pass."""

    def __init__(self, setup: Setup) -> None:
        profile = setup.profile
        self.setup, self.station = setup, Station(profile, profile.vision)
        bounds = Bounds(profile.sessions, profile.session_bytes, profile.session_seconds)
        self.kept: Kept[tuple[Film, str, Watched]] = Kept(bounds)
        self.config = load_config(weights(setup.source(""), setup.registry))
        self.step = self._load("")
        self.station.stand_back()
        self.together.set_max_batch_size(max(setup.profile.vision.batch, self.config.vision.frames))
        self.together.set_batch_wait_timeout_s(setup.profile.vision.wait)

    async def see(self, look: Look, session: str | None = None, film: Film | None = None) -> Watched:
        """session: keep the tokens for it; film: what they are of. The header says where they are kept."""
        frames = len(look.given.spatial)
        self.station.gauge.take(frames)
        try:
            watched: Watched = await self.together(look)
        finally:
            self.station.gauge.done(frames)
        if session is None or film is None:
            return watched
        tokens = replace(watched.tokens, tokens=watched.tokens.tokens.copy())  # else, as a view, all videos of its pass would stay
        header = replace(watched.header, place=ray_serve.get_replica_context().replica_id.unique_id)
        self.kept.put(session, (film, ray_serve.get_multiplexed_model_id(), Watched(tokens, header)), header.bytes)
        return Watched(watched.tokens, header)

    async def holds(self, session: str, film: Film) -> bool:
        """Whether a session's tokens are here, and are of this film and of the model that is asked for."""
        return self._found(session, film) is not None

    async def recall(self, session: str, film: Film) -> Watched:
        """The tokens that are kept. WorkerLost if they have gone since :meth:`holds` was asked."""
        if (watched := self._found(session, film)) is None:
            raise WorkerLost(f"tokens of session {session}, which are not kept here", "some that are", "ask again")
        return watched

    async def forget(self, session: str) -> None:
        self.kept.drop(session)

    def _found(self, session: str, film: Film) -> Watched | None:
        kept = self.kept.get(session)
        return kept[2] if kept is not None and kept[:2] == (film, ray_serve.get_multiplexed_model_id()) else None

    @ray_serve.batch(max_batch_size=64, batch_size_fn=_frames)
    async def together(self, looks: list[Look]) -> list[Watched]:
        """As many frames as ``batch`` says; requests for different models never meet here."""
        name = ray_serve.get_multiplexed_model_id()
        step = await self.other(name) if name else self.step
        began = time.perf_counter()
        tokens = await self.station.run(step, [look.given for look in looks])
        share = (time.perf_counter() - began) / len(looks)
        return [
            Watched(seen, replace(look.header, spent=look.header.spent | {"vision": share}, bytes=seen.tokens.nbytes))
            for look, seen in zip(looks, tokens, strict=True)
        ]

    @ray_serve.multiplexed(max_num_models_per_replica=OTHERS)
    async def other(self, name: str) -> VisionStep:
        return await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> VisionStep:
        source = weights(self.setup.source(name), self.setup.registry)
        return VisionStep.load(source, device=self.station.device, dtype=self.setup.profile.dtype)

    async def where(self) -> dict[str, Any]:
        return self.station.where()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self.station.gauge.told()

    async def check_health(self) -> None:
        """One black image. What sessions left here goes in time also where nobody asks."""
        self.kept.expire()
        if not self.station.proved:
            side = self.config.vision.spatial.image_size
            await self.station.run(self.step, [VisionInput(np.zeros((1, 3, side, side), np.uint8), None)])

    def __del__(self) -> None:
        self.station.close()
