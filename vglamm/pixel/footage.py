"""The grounding frames of one video on their way through the trunk: in chunks, forwards or backwards, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vglamm.errors import VideoError
from vglamm.pixel.decoder import Features, Pixel
from vglamm.records import PixelInput

FrameSource = Callable[[int, int], Iterable[PixelInput]]
"""``source(first, stop)`` gives the grounding frames ``first`` .. ``stop - 1`` in order, in chunks of any size, when asked."""
Chunks = FrameSource | Iterable[PixelInput]


@dataclass(frozen=True)
class Ahead:
    """Features of the first frames of a video, made before it is known what to look for in them. size: (H, W) of the source.
    batches: as :meth:`Footage.batches` makes them from frame 0 on."""

    size: tuple[int, int]
    batches: tuple[Features, ...]


class Footage:
    """Features of the frames of one video, made when they are asked for.

    chunks: a :data:`FrameSource`; or the chunks of all ``frames`` frames, as a list (can be read again) or an iterator (once).
    keep: hold every feature once made, so that the trunk sees each frame once however often it is asked for.
    ahead: of the same video; who first reads as many frames from frame 0 on gets them.
    """

    def __init__(self, pixel: Pixel, chunks: Chunks, frames: int, *, keep: bool = False, ahead: Ahead | None = None) -> None:
        if frames < 1:
            raise VideoError(f"{frames} grounding frames", "at least 1", "choose frames that the video has")
        self.pixel, self.frames, self.keep = pixel, frames, keep
        self._source = chunks if callable(chunks) else _held(chunks) if isinstance(chunks, Sequence) else _once(chunks, frames)
        self._kept: list[Features] = []
        self._ahead = () if ahead is None else ahead.batches
        self._size = None if ahead is None else ahead.size

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the source; known once a frame was read."""
        assert self._size is not None, "read a frame first"
        return self._size

    def forwards(self, first: int = 0) -> Iterator[tuple[int, Features]]:
        """(position, features of that frame) from ``first`` to the end."""
        for start, features in self.batches(0 if self.keep else first, self.frames):
            for k in range(max(first - start, 0), len(features)):
                yield start + k, features[k : k + 1]

    def backwards(self, last: int) -> Iterator[tuple[int, Features]]:
        """(position, features of that frame) from ``last`` down to 0.

        Frames are read in blocks of ``config.cache`` 8-bit frames, since no decoder runs backwards.
        """
        if self.keep:
            for k in range(last, -1, -1):
                yield k, self._all()[k]
            return
        block = max(self.pixel.config.cache, self.pixel.config.chunk)
        for stop in range(last + 1, 0, -block):
            first = max(stop - block, 0)
            frames = np.concatenate([part.frames for part in self._read(first, stop)])
            for end in range(len(frames), 0, -self.pixel.config.chunk):
                begin = max(end - self.pixel.config.chunk, 0)
                features = self._features(frames[begin:end])
                for k in range(len(features) - 1, -1, -1):
                    yield first + begin + k, features[k : k + 1]

    def at(self, positions: Sequence[int]) -> Iterator[tuple[int, Features]]:
        """(position, features of that frame) for single frames in increasing order."""
        for k in positions:
            if self.keep:
                yield k, self._all()[k]
            else:
                [(_, features)] = self.batches(k, k + 1)
                yield k, features

    def batches(self, first: int, stop: int) -> Iterator[tuple[int, Features]]:
        """(position of the first, features) of ``config.chunk`` frames at a time, whatever chunks the source gives; at first of one
        frame alone, so that its mask does not wait for others."""
        chunk = 1
        if (
            first == 0 and sum(map(len, self._ahead)) <= stop
        ):  # elsewhere a batch would be cut otherwise, which changes its last bits
            ready, self._ahead = self._ahead, self._ahead if self.keep else ()
            for features in ready:
                yield first, features
                first, chunk = first + len(features), self.pixel.config.chunk
        held: list[NDArray[np.uint8]] = []
        for part in self._read(first, stop) if first < stop else ():
            held.extend(part.frames)
            while len(held) >= chunk:
                yield first, self._batch(first, held[:chunk])
                held, first, chunk = held[chunk:], first + chunk, self.pixel.config.chunk
        if held:
            yield first, self._batch(first, held)

    def ahead(self) -> Ahead:
        """Features of the first frame and of one more chunk."""
        batches = tuple(features for _, features in islice(self.batches(0, self.frames), 2))
        return Ahead(self.size, batches)

    def _all(self) -> list[Features]:
        if not self._kept:
            self._kept = [features for _, features in self.forwards()]
        return self._kept

    def _batch(self, first: int, frames: list[NDArray[np.uint8]]) -> Features:
        features = self._features(np.stack(frames))
        if self.keep and first == sum(map(len, self._ahead)):
            self._ahead = (*self._ahead, features)
        return features

    def _features(self, frames: NDArray[np.uint8]) -> Features:
        device = self.pixel.mean.device
        return self.pixel.features(self.pixel.square(torch.from_numpy(frames).to(device)))

    def _read(self, first: int, stop: int) -> Iterator[PixelInput]:
        """The source's chunks, checked: none missing, none twice, all of one size."""
        at = first
        for part in self._source(first, stop):
            if part.start != at:
                raise VideoError(
                    f"a chunk that starts at frame {part.start}", f"frame {at} next", "give chunks in order, with their start"
                )
            if self._size not in (None, part.size):
                raise VideoError(f"frames of {part.size} after {self._size}", "one size in a video", "resize them to one size")
            self._size = part.size
            at += len(part.frames)
            yield part
        if at != stop:
            raise VideoError(f"grounding frames up to {at - 1}", f"up to {stop - 1}", "give as many frames as were announced")


def _held(chunks: Sequence[PixelInput]) -> FrameSource:
    def source(first: int, stop: int) -> Iterator[PixelInput]:
        for part in chunks:
            begin, end = max(first - part.start, 0), min(stop - part.start, len(part.frames))
            if begin < end:
                yield PixelInput(part.frames[begin:end], part.size, part.start + begin)

    return source


def _once(chunks: Iterable[PixelInput], frames: int) -> FrameSource:
    stream = iter(chunks)
    used = False

    def source(first: int, stop: int) -> Iterator[PixelInput]:
        nonlocal used
        if used or (first, stop) != (0, frames):
            raise VideoError(
                "an iterator of chunks, which can be read once",
                f"a source that can be read again, for {frames} frames in this mode",
                "pass a callable (first, stop) -> chunks or a list, or raise pixel.cache",
            )
        used = True
        yield from stream

    return source
