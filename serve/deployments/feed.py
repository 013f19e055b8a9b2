"""Grounding frames for a pixel replica: windows of them, fetched from decode one ahead of what is tracked."""

from __future__ import annotations

from collections.abc import Iterator

from ray.serve.handle import DeploymentHandle, DeploymentResponse

from serve.backends.wire import Film
from vglamm.records import PixelInput


class Feed:
    """A source of frames for :class:`vglamm.pixel.footage.Footage`; used in a worker thread. first: the first window if it came
    already. At most two windows are held, whatever the length of the video."""

    def __init__(self, decode: DeploymentHandle, film: Film, first: list[PixelInput] | None, window: int, model: str) -> None:
        self.decode = decode.options(method_name="frames", multiplexed_model_id=model) if model else decode.frames
        self.film, self.first, self.window = film, first, window
        self._ahead: DeploymentResponse | None = None

    def __call__(self, first: int, stop: int) -> Iterator[PixelInput]:
        if self.first is not None:
            for chunk in self.first:
                begin, end = max(first - chunk.start, 0), min(stop - chunk.start, len(chunk.frames))
                if begin < end:
                    yield PixelInput(chunk.frames[begin:end], chunk.size, chunk.start + begin)
                    first = chunk.start + end
        if first < stop:
            self._ahead = self._ask(first, stop)
        while first < stop:
            here, self._ahead = self._ahead, None
            assert here is not None, "asked one ahead"
            after = min(first + self.window, stop)
            if after < stop:
                self._ahead = self._ask(after, stop)
            yield from here.result()
            first = after

    def _ask(self, first: int, stop: int) -> DeploymentResponse:
        return self.decode.remote(self.film, first, min(first + self.window, stop))

    def close(self) -> None:
        """Nobody wants what was asked for ahead."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None
