"""Videos that no job gets through: what is wrong with each, the reason that its row has to give, and doubles for what no real file
does reliably, set up in the workers of a Ray (:func:`setup`).
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from vglamm.media.guarded import GuardedSource, open_guarded
from vglamm.media.limits import Limits
from vglamm.media.read import Frames, VideoSource

SEGFAULTS, HANGS, EXITS, KILLS_ACTOR = "segfault.mp4", "hang.mp4", "exit.mp4", "actor.mp4"
SIX = ("empty.mp4", "noise.mp4", "sound.mp4", "moov.mp4", "bomb.png", SEGFAULTS)
"""The kinds of a file that a decoder may meet; the others are worse: a decoder that hangs, a stage that calls sys.exit or dies."""
REASONS = {
    "empty.mp4": "VideoUnreadable",
    "noise.mp4": "VideoUnreadable",
    "sound.mp4": "VideoUnreadable",
    "moov.mp4": "VideoUnreadable",
    "bomb.png": "VideoTooLarge",
    SEGFAULTS: "VideoUnreadable",
    HANGS: "VideoTooLarge",
    EXITS: "SystemExit",
    KILLS_ACTOR: "WorkerLost",
}


def spoil(folder: Path, kind: str, good: Path, prefix: str = "bad-") -> str:
    """Write a file of that kind, made from a good MP4 where it needs one; its name, which ends in the kind."""
    MAKERS.get(kind, shutil.copy)(good, folder / f"{prefix}{kind}")
    return f"{prefix}{kind}"


def _without_moov(good: Path, path: Path) -> None:
    whole = good.read_bytes()  # ftyp, moov, mdat
    path.write_bytes(whole[: whole.index(b"moov") - 4] + whole[whole.index(b"mdat") - 4 :])


def _sound(_: Path, path: Path) -> None:
    """An MP4 with a moment of silence and no picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)


def _bomb(_: Path, path: Path) -> None:
    """A PNG of 16000 x 16000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16000, 16000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2001 * 16000), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


MAKERS: dict[str, Callable[[Path, Path], object]] = {
    "empty.mp4": lambda _, path: path.touch(),
    "noise.mp4": lambda _, path: path.write_bytes(random.Random(0).randbytes(50_000)),
    "sound.mp4": _sound,
    "moov.mp4": _without_moov,
    "bomb.png": _bomb,
}


class Doomed(VideoSource):
    """A source whose decoder crashes, or never comes back, when frames are asked for. It travels to the child by pickle."""

    def __init__(self, whole: VideoSource, *, crashes: bool) -> None:
        self.info, self.times, self.crashes = whole.info, whole.times, crashes

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        if self.crashes:
            ctypes.string_at(0)
        while True:
            pass
        yield


def setup() -> None:
    """Called by Ray when a worker starts."""
    from ray_jobs.annotate import stages

    def opened(path: str, limits: Limits, **rest: Any) -> GuardedSource:
        source = open_guarded(path, limits, **rest)
        if path.endswith(KILLS_ACTOR):
            os._exit(9)
        if path.endswith(EXITS):
            sys.exit("as a library may")
        if path.endswith(SEGFAULTS):
            return GuardedSource(Doomed(source.inner, crashes=True), limits)
        if path.endswith(HANGS):
            return GuardedSource(Doomed(source.inner, crashes=False), Limits(stall_seconds=2))
        return source

    stages.open_guarded = opened  # type: ignore[assignment]
