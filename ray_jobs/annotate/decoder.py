"""Grounding frames for a pixel actor: a decoder of its own, elsewhere, works a few chunks ahead of it.

An actor and not a task for each video: a worker that has nothing to do for a second is stopped by Ray, and a new one spends seconds
of a core on its imports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.profile import Frames
from ray_jobs.annotate.stages import Settings, grounding_frames, sampling_of
from vglamm.errors import VglammError, WorkerLost
from vglamm.identity import load_config
from vglamm.records import PixelInput


class Decoder:
    """Decodes one video after the other, chunk by chunk, as it is asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.config = settings, load_config(settings.model)
        self._stream: Iterator[PixelInput] = iter(())

    def begin(self, plain: dict[str, Any], first: int, stop: int) -> None:
        """Turn to the grounding frames ``first`` to ``stop`` of a video."""
        self.end()
        sampling, source_fps = sampling_of(plain), plain["own_sampling"].get("source_fps")
        self._stream = grounding_frames(plain["uri"], sampling, self.config, self.settings.limits, first, stop, source_fps)

    def next(self) -> PixelInput | None:
        """The next chunk; None after the last."""
        return next(self._stream, None)

    def end(self) -> None:
        """Let go of the video."""
        close = getattr(self._stream, "close", None)
        self._stream = iter(())
        if close is not None:
            close()


class Feed:
    """``feed(parcel, first, stop)`` gives grounding frames in chunks. A decoder that dies is replaced, and its successor goes on at
    the next frame; WorkerLost if that happens more than ``retries`` times to one video. It lives and dies with this actor."""

    def __init__(self, frames: Frames, settings: Settings, retries: int) -> None:
        self.settings, self.ahead, self.retries = settings, frames.ahead, retries
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        placed = {} if frames.labels else {"scheduling_strategy": here}
        self._decoders = ray.remote(Decoder).options(max_restarts=0, **frames.scheduling, **placed)
        self._decoder = self._decoders.remote(settings)
        ray.get(self._decoder.end.remote())  # this actor is ready when its decoder is

    def __call__(self, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
        plain = {name: parcel.plain[name] for name in ("uri", "own_sampling", "sampling")}
        lost = 0
        while True:
            try:
                with closing(self._chunks(plain, first, stop)) as chunks:
                    for chunk in chunks:
                        yield chunk
                        first += len(chunk.frames)
                return
            except RayTaskError as error:
                if isinstance(error.cause, VglammError):
                    raise error.cause from None
                raise
            except RayActorError:
                lost += 1
                if lost > self.retries:
                    raise WorkerLost(
                        f"a decoder died {lost} times on {plain['uri']}", "one that lives", "look at this video alone"
                    ) from None
                self._decoder = self._decoders.remote(self.settings)

    def _chunks(self, plain: dict[str, Any], first: int, stop: int) -> Generator[PixelInput, None, None]:
        decoder = self._decoder
        begun = decoder.begin.remote(plain, first, stop)
        waiting = deque(decoder.next.remote() for _ in range(self.ahead + 1))
        try:
            ray.get(begun)
            while (chunk := ray.get(waiting.popleft())) is not None:
                waiting.append(decoder.next.remote())
                yield chunk
        finally:
            decoder.end.remote()
