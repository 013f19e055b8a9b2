"""Writing H.264 in MP4 that plays in every browser: yuv420p, even sizes, the index in front, each frame at its own time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vglamm.errors import VideoFrameError

TICK = Fraction(1, 90000)
"""Unit of presentation times: the clock of MPEG, exact for all usual frame rates."""


def write_mp4(path: Path, frames: Iterable[tuple[float, NDArray[np.uint8]]], last: float, crf: int = 20) -> None:
    """Write (time in seconds, uint8[H, W, 3]) pairs, RGB, H and W even and equal throughout, times increasing, as one MP4.

    The first frame is at 0 whatever its time; the last is shown for `last` seconds. crf: quality of x264, lower is better. The
    file appears under its name only when it is whole. One frame is held at a time. Raises VideoFrameError for no frames, odd or
    unequal sizes and times that do not increase.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast", "bf": "0", "g": "24"})
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = TICK
            durations: dict[int, int] = {}
            for ticks, lasting, pixels in _timed(frames, last):
                if not durations:
                    stream.height, stream.width = pixels.shape[:2]
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = ticks, TICK
                durations[ticks] = lasting
                _mux(container, stream.encode(frame), durations)
            if not durations:
                raise VideoFrameError("no frames", "at least one", "sample the video again")
            _mux(container, stream.encode(None), durations)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _mux(container: av.container.OutputContainer, packets: Iterable[av.Packet], durations: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = durations[packet.pts]  # the encoder guesses from the rate; the last frame would be lost to players
        container.mux(packet)


def _timed(frames: Iterable[tuple[float, NDArray[np.uint8]]], last: float) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """(pts, duration, pixels) in ticks from 0 on, one frame behind, since a frame lasts until the next."""
    before: tuple[int, NDArray[np.uint8]] | None = None
    origin: float | None = None
    for time, pixels in frames:
        origin = time if origin is None else origin
        ticks = round((time - origin) / TICK)
        if pixels.shape[0] % 2 or pixels.shape[1] % 2 or (before is not None and pixels.shape != before[1].shape):
            raise VideoFrameError(
                f"a frame of {list(pixels.shape)}", "even height and width, equal throughout", "resize the frames"
            )
        if before is not None:
            if ticks <= before[0]:
                raise VideoFrameError(
                    f"a frame at {time} s after one at the same time or later", "times that increase", "sort the frames"
                )
            yield before[0], ticks - before[0], before[1]
        before = ticks, np.ascontiguousarray(pixels)
    if before is not None:
        yield before[0], max(1, round(last / TICK)), before[1]
