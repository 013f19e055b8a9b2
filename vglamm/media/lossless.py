"""A video of any kind as one file that holds the same pictures, bit for bit: for whoever takes files only.

H.264 of RGB pictures without loss, in MP4. Few players show it; it is made to be sent and decoded again by this package.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from vglamm.errors import VideoUnreadable
from vglamm.media.read import VideoSource


def write_lossless(path: Path, source: VideoSource) -> None:
    """Write every frame of a source of constant rate, a few in memory at a time. Raises what reading the source raises, and
    VideoUnreadable for a rate that no file can hold."""
    rate = Fraction(source.info.fps).limit_denominator(100_000)
    if not rate:
        raise VideoUnreadable(f"frames at {source.info.fps} frames per second", "a rate above 0", "give it: source_fps")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = source.info.width, source.info.height, "rgb24"
        stream.time_base = stream.codec_context.time_base = 1 / rate
        for numbers, frames in source.stream():
            for number, pixels in zip(numbers, frames, strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = int(number), 1 / rate
                container.mux(_lasting(stream.encode(frame)))
        container.mux(_lasting(stream.encode(None)))


def _lasting(packets: list[av.Packet]) -> list[av.Packet]:
    """Each frame lasts one tick, the last one too."""
    for packet in packets:
        packet.duration = 1
    return packets
