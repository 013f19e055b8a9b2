"""Frames -> visual tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
from ray import serve as ray_serve

from serve.setup import Setup
from serve.station import OTHERS, Station
from serve.tracking import weights
from serve.wire import Look, Watched
from vglamm import checkpoint
from vglamm.records import VisionInput
from vglamm.steps.vision import VisionStep


def _frames(looks: list[Look]) -> int:
    return sum(len(look.given.spatial) for look in looks)


class Vision:
    """Looks at several videos in one pass."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.station = setup, Station(setup.profile, setup.profile.vision)
        self.config = checkpoint.load_config(weights(setup.source(""), setup.registry))
        self.step = self._load("")
        self.together.set_max_batch_size(max(setup.profile.vision.batch, self.config.vision.frames))
        self.together.set_batch_wait_timeout_s(setup.profile.vision.wait)

    async def see(self, look: Look) -> Watched:
        frames = len(look.given.spatial)
        self.station.gauge.take(frames)
        try:
            watched: Watched = await self.together(look)
            return watched
        finally:
            self.station.gauge.done(frames)

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
        """One black image."""
        if not self.station.proved:
            side = self.config.vision.spatial.image_size
            await self.station.run(self.step, [VisionInput(np.zeros((1, 3, side, side), np.uint8), None)])

    def __del__(self) -> None:
        self.station.close()
