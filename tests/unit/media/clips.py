"""Clips with a number in each frame, made with PyAV, so that a wrong frame is recognised without knowing which one it should be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 12
WIDTH, HEIGHT = 192, 128


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """uint8[height, width, 3]: the number in black and white cells along the top, a moving coloured gradient below."""
    y, x = np.mgrid[0:height, 0:width]
    frame = np.stack([x * 255 // width, y * 255 // height, (x + y + 9 * number) % 256], axis=-1).astype(np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        frame[: height // 4, left:right] = 235 if number >> bit & 1 else 20
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that :func:`numbered` wrote, from the middle of each cell; -1 if a cell is neither black nor white."""
    height, width = frame.shape[:2]
    number = 0
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        middle = (right - left) // 4
        level = frame[height // 16 : height // 8, left + middle : right - middle].mean()
        if 90 < level < 165:
            return -1
        number |= int(level > 128) << bit
    return number


def encode(
    path: Path,
    codec: str = "libx264",
    numbers: Iterable[int] = range(60),
    *,
    rate: int = 25,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    turn: tuple[int, bool] | None = None,
    color: dict[str, Any] | None = None,
    container_format: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write one frame for each of ``numbers``.

    times: presentation times in milliseconds, for a variable rate. turn: (degrees counter-clockwise, mirrored) in the display
    matrix. color: attributes of the codec context (colorspace, color_range).
    """
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], pixel_format
        stream.codec_context.thread_count = 1
        if codec == "libx265":
            stream.options = {"x265-params": ":".join(["log-level=none", *(f"{k}={v}" for k, v in (options or {}).items())])}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (color or {}).items():
            setattr(stream.codec_context, name, value)
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        for position, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            if color:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=color.get("colorspace"), dst_color_range=color.get("color_range")
                )
            if times is not None:
                frame.pts, frame.time_base = times[position], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


_GOP = {"g": "12"}
_OPEN = {"keyint": "12", "min-keyint": "12", "open-gop": "1", "bframes": "3"}
_STEPS = np.random.default_rng(0).integers(10, 90, 60)
UNEVEN = [0, *np.cumsum(_STEPS[:-1]).tolist()]
"""Presentation times in milliseconds of the clips with a variable rate."""

CLIPS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": _GOP},
    "h264.mkv": {"options": _GOP},
    "h264.mov": {"options": _GOP},
    "h264.avi": {"options": _GOP},
    "h264.ts": {"options": _GOP},
    "faststart.mp4": {"options": _GOP, "container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"options": _GOP, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "open_gop.mp4": {"options": _GOP | {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "intra_refresh.mkv": {"options": {"g": "12", "x264-params": "intra-refresh=1:bframes=0"}},
    "hevc.mp4": {"codec": "libx265", "options": _OPEN | {"open-gop": "0"}},
    "hevc_open_gop.mp4": {"codec": "libx265", "options": _OPEN},
    "vp9.webm": {"codec": "libvpx-vp9", "options": _GOP | {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "8"}},
    "vp8.webm": {
        "codec": "libvpx",
        "options": _GOP | {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "8"},
    },
    "av1.mp4": {"codec": "libsvtav1", "options": _GOP | {"preset": "12"}},
    "variable.mp4": {"options": _GOP, "times": UNEVEN},
    "variable.mkv": {"options": _GOP, "times": UNEVEN},
    "yuv444.mp4": {"options": _GOP, "pixel_format": "yuv444p"},
    "odd_size.mp4": {"options": _GOP, "pixel_format": "yuv444p", "size": (193, 127)},
    "ten_bit.mp4": {"options": _GOP, "pixel_format": "yuv420p10le"},
    "full_range.mp4": {"options": _GOP, "pixel_format": "yuvj420p"},
    "bt709.mp4": {"options": _GOP, "color": {"colorspace": 1}},
    "mpeg4.avi": {"codec": "mpeg4", "options": _GOP},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": _GOP},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "turned_90.mp4": {"options": _GOP, "turn": (90, False)},
    "turned_180.mp4": {"options": _GOP, "turn": (180, False)},
    "turned_270.mp4": {"options": _GOP, "turn": (270, False)},
    "turned_90.mkv": {"options": _GOP, "turn": (90, False)},
    "mirrored.mp4": {"options": _GOP, "turn": (0, True)},
    "mirrored_90.mp4": {"options": _GOP, "turn": (90, True)},
    "wide_pixels.mp4": {"options": _GOP, "aspect": Fraction(4, 3)},
    "wide_pixels_90.mp4": {"options": _GOP, "aspect": Fraction(4, 3), "turn": (90, False)},
}
# What decord is allowed to read, and reads (its FFmpeg 4.1 gives the same pixels as PyAV's 8.1).
PLAIN = {
    "h264.mp4", "h264.mkv", "h264.mov", "faststart.mp4", "fragments.mp4", "hevc.mp4", "vp9.webm", "variable.mp4", "variable.mkv",
    "yuv444.mp4", "odd_size.mp4", "full_range.mp4", "bt709.mp4", "turned_90.mp4", "turned_180.mp4", "turned_270.mp4",
    "wide_pixels.mp4", "wide_pixels_90.mp4",
}  # fmt: skip


class ClipFolder:
    """Makes each clip of :data:`CLIPS` when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            with ThreadPoolExecutor(1) as thread:  # SVT-AV1 gives the thread that calls it real-time priority, for good
                thread.submit(encode, path, **CLIPS[name]).result()
        return path

    def changed(self, name: str, change: Any) -> Path:
        """A copy of the clip ``name`` whose bytes went through ``change``."""
        data = change(self[name].read_bytes())
        path = self.folder / f"changed_{abs(hash(data))}_{name}"
        path.write_bytes(data)
        return path
