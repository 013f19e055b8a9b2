"""Videos of the spool -> frames, on CPUs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve as ray_serve

from serve.backends.films import Films
from serve.backends.wire import Film, Header, Look
from serve.contract import VideoFacts
from serve.deployments.station import Station
from serve.setup import Setup
from serve.tracking import weights
from vglamm.config import ModelConfig
from vglamm.frames import choose, end_of, grounding_source, open_frames, vision_input
from vglamm.identity import load_config
from vglamm.media.mp4 import write_mp4
from vglamm.pixel.anchor import check_mode
from vglamm.records import PixelInput


class Decode:
    """Needs of a model its config only. Several videos at a time, each in a guarded child of its own."""

    def __init__(self, setup: Setup) -> None:
        part = setup.profile.decode
        self.setup, self.station = setup, Station(setup.profile, part, part.ongoing)
        self.films = Films(setup.spool, setup.limits, together=part.ongoing)
        self.configs: dict[str, ModelConfig] = {"": self._config("")}
        self.folder = tempfile.TemporaryDirectory(prefix="vglamm-check-")
        self.sample = Path(self.folder.name) / "sample.mp4"
        write_mp4(self.sample, ((i / 4, np.full((32, 32, 3), 60 * i, np.uint8)) for i in range(4)), last=0.25)
        self.station.stand_back()

    async def look(self, film: Film) -> Look:
        """What the language model is to see."""
        return await self.station.count(self._config_now().vision.frames, self._look, film, self._config_now())

    def _look(self, film: Film, config: ModelConfig) -> Look:
        check_mode(film.watching.mode)
        began = time.perf_counter()
        with self.films.opened(film.video) as source:
            sampling = choose(source, config, **film.watching.sampling)
            opened = time.perf_counter()
            given = vision_input(source, sampling, config)
            spent = {"probe": opened - began, "decode": time.perf_counter() - opened}
            return Look(given, Header(sampling, end_of(source, film.watching.end), spent))

    async def frames(self, film: Film, first: int, stop: int | None = None) -> list[PixelInput]:
        """Grounding frames ``first`` .. ``stop - 1`` in chunks, as many as there are; without ``stop``, one window of them."""
        stop = first + self.setup.profile.window if stop is None else stop
        return await self.station.count(stop - first, self._frames, film, first, stop, self._config_now())

    def _frames(self, film: Film, first: int, stop: int, config: ModelConfig) -> list[PixelInput]:
        with self.films.opened(film.video) as source:
            sampling = choose(source, config, **film.watching.sampling)
            stop = min(stop, len(sampling.grounding_indices))
            return list(grounding_source(source, sampling, config)(first, stop))

    async def probe(self, video: str) -> VideoFacts:
        return await self.station.count(1, self._probe, video)

    def _probe(self, video: str) -> VideoFacts:
        with self.films.opened(video) as source:
            info = source.info
            return VideoFacts((info.height, info.width), len(source), info.seconds, info.fps, info.is_image)

    async def where(self) -> dict[str, Any]:
        return self.station.where()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self.station.gauge.told()

    async def check_health(self) -> None:
        if not self.station.proved:
            await self.station.run(lambda: open_frames(str(self.sample)).frames_at([0]))

    def __del__(self) -> None:
        self.films.close()
        self.station.close()
        self.folder.cleanup()

    def _config_now(self) -> ModelConfig:
        name = ray_serve.get_multiplexed_model_id()
        if name not in self.configs:
            self.configs[name] = self._config(name)
        return self.configs[name]

    def _config(self, name: str) -> ModelConfig:
        return load_config(weights(self.setup.source(name), self.setup.registry))
