"""Sources that misbehave as a decoder may, to be guarded: each gives good frames first. They travel to the child by pickle."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np

from vglamm.errors import VideoUnreadable
from vglamm.media.probe import VideoInfo
from vglamm.media.read import Frames, VideoSource

AT = 3
"""The frame at which it happens."""


class Made(VideoSource):
    """Frames made when they are asked for, each full of its own index."""

    def __init__(self, count: int = 20, height: int = 6, width: int = 8) -> None:
        self.info = VideoInfo("<made>", width, height, count, 25.0, count / 25, "raw", "made")
        self.times = np.arange(count) / 25

    def _frame(self, index: int) -> Frames:
        return np.full((self.info.height, self.info.width, 3), index % 256, np.uint8)

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        for index in wanted:
            yield index, self._frame(index)


class Misbehaving(Made):
    """Does what ``act`` names when it comes to frame :data:`AT`."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = act

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        for index, frame in super()._walk(wanted):
            if index == AT:
                ACTS[self.act](self)
            yield index, frame


class Lying(Made):
    """Gives something else than was asked for: see :data:`LIES`."""

    def __init__(self, lie: str) -> None:
        super().__init__()
        self.lie = lie

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        return LIES[self.lie](super()._walk(wanted))


class BeginningAgain(Made):
    """Gives wrong frames for some that lie apart, then all of them from the first, as when decord hands over to PyAV."""

    def _apart(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        for index in wanted[:2]:
            yield index, 255 - self._frame(index)
        yield from self._walk(wanted)


class Inside(Made):
    """Raises what the child process itself can see of an answer, as an error."""

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        raise VideoUnreadable("torch" if "torch" in sys.modules else "no torch", os.getcwd(), sys.executable)
        yield


def _beat_for_ever(source: Made) -> None:
    while True:
        assert source.progress is not None
        source.progress()


def _loop(source: Made) -> None:
    while True:
        pass


def _eat(source: Made) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 26))


def _make_noise(source: Made) -> None:
    os.write(1, b"printed by a library\n" * 10_000)
    os.write(2, b"a warning\n" * 100_000)


def _raise(source: Made) -> None:
    raise ValueError("the moon is in the wrong house")


ACTS: dict[str, Callable[[Made], object]] = {
    "segfault": lambda source: ctypes.string_at(0),
    "abort": lambda source: os.abort(),
    "loop": _loop,
    "loop in C": lambda source: sum(itertools.repeat(0)),  # Python never gets to run, so no thread or handler of it could help
    "beat for ever": _beat_for_ever,
    "eat": _eat,
    "leave": lambda source: os._exit(0),
    "exit": lambda source: sys.exit(0),
    "raise": _raise,
    "make noise": _make_noise,
}

LIES: dict[str, Callable[[Iterator[tuple[int, Frames]]], Iterator[tuple[int, Frames]]]] = {
    "other frames": lambda frames: ((index + 1, frame) for index, frame in frames),
    "too few": lambda frames: itertools.islice(frames, 2),
    "too many": lambda frames: itertools.chain(frames, [(19, np.zeros((6, 8, 3), np.uint8))]),
    "another size": lambda frames: ((index, frame[:, 1:]) for index, frame in frames),
    "an enormous size": lambda frames: ((index, np.broadcast_to(frame[:1, :1], (60_000, 1, 3))) for index, frame in frames),
}
