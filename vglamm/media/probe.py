"""What a video or image is, found out in a child process before this one decodes a byte of it.

The child imports no torch and runs under resource limits, so a file that is too large, that is made to exhaust memory or that
crashes a decoder costs one child and gives a typed error here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm import errors
from vglamm.errors import VideoTooLarge, VideoUnreadable
from vglamm.media import examine
from vglamm.media.child_pipes import ChildEnded, ChildPipes, ChildStalled
from vglamm.media.limits import Limits
from vglamm.media.orientation import Orientation

log = logging.getLogger(__name__)

_EXAMINE = examine.__name__
_JSON_BYTES = 64 * 1024
_FRAME_BYTES = 9  # of what is told of each frame


@dataclass(frozen=True)
class VideoInfo:
    """What the container says of a video or image.

    width, height: as shown, after pixel aspect and rotation. frames: the container's count, None if it does not say (the exact
    number is the length of ``VideoSource.times``). fps: average rate, 0 for an image. seconds: duration. rotation: degrees
    clockwise that were applied. pixel_aspect: width over height of a coded pixel.
    """

    path: str
    width: int
    height: int
    frames: int | None
    fps: float
    seconds: float
    codec: str
    container: str
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: float = 1.0
    pixel_format: str = "rgb24"
    is_image: bool = False


@dataclass(frozen=True)
class Scan:
    """Everything that reading needs to know of a file: each frame's time, and which backend gives it exactly.

    pts: int64[n], presentation time of each frame in units of ``time_base`` seconds. keys: bool[n]. truncated: bytes are missing
    at the end. ordinal: frames can be told only by their number. seekable: key frames can be sought. plain: decord reads it.
    """

    info: VideoInfo
    pts: NDArray[np.int64]
    keys: NDArray[np.bool_]
    time_base: Fraction
    orientation: Orientation
    truncated: bool
    ordinal: bool
    seekable: bool
    plain: bool
    pixels: int


def probe(path: str | os.PathLike[str], limits: Limits | None = None) -> VideoInfo:
    """What the file at ``path`` is, from its header and its first frame.

    Raises VideoNotFound, VideoUnreadable or VideoTooLarge.
    """
    name = os.path.abspath(os.fspath(path))
    found, _ = _ask_child(name, False, False, limits or Limits())
    return _info(name, found)


def scan(path: str | os.PathLike[str], limits: Limits | None = None, verify: bool = False) -> Scan:
    """Probe ``path`` and list its frames.

    The times come from the packets of the container where these can be trusted (h264, hevc, vp9 or av1 in MP4, MOV, MKV or WebM,
    undamaged); of anything else, or with ``verify``, every frame is decoded once in the child and what comes out is listed.
    Raises as :func:`probe`.
    """
    name, limits = os.path.abspath(os.fspath(path)), limits or Limits()
    found, rest = _ask_child(name, True, verify, limits)
    count = 1 if found["is_image"] else found["exact"]
    if count < 0.9 * found.get("usable", 0):
        log.warning("%s: only %d of %d frames can be decoded", name, count, found["usable"])
    pts = np.zeros(1, np.int64) if found["is_image"] else np.frombuffer(rest, np.int64, count)
    return Scan(
        info=_info(name, found),
        pts=pts,
        keys=np.frombuffer(rest, np.bool_, offset=8 * count) if rest else np.ones(1, np.bool_),
        time_base=Fraction(*found["time_base"]),
        orientation=Orientation(**found.get("orientation", {})),
        truncated=found.get("truncated", False),
        ordinal=found.get("ordinal", False),
        seekable=found.get("seekable", False),
        plain=found.get("plain", False),
        pixels=limits.pixels,
    )


def _info(path: str, found: dict[str, Any]) -> VideoInfo:
    names = {f.name for f in fields(VideoInfo)} - {"path"}
    return VideoInfo(path=path, **{name: found[name] for name in names if name in found})


def _ask_child(path: str, full: bool, verify: bool, limits: Limits) -> tuple[dict[str, Any], bytes]:
    """Run :mod:`vglamm.media.examine` on ``path``; its findings and the bytes after them."""
    limits.check_file(path)
    child = ChildPipes(_EXAMINE, [path, full, verify, asdict(limits)], 2 * limits.cpu_seconds + 30)
    try:
        told, rest = examine.FINDINGS.unpack(_read(child, examine.FINDINGS.size))
        if told > _JSON_BYTES or rest > _FRAME_BYTES * limits.frames:
            raise _failed(path, "findings without end")
        found, rest = json.loads(_read(child, told)), _read(child, rest)
    except ChildStalled as error:
        raise _took_too_long(path, limits) from error
    except ChildEnded as error:
        if error.code in (-signal.SIGXCPU, -signal.SIGKILL):
            raise _took_too_long(path, limits) from error
        last = f": {error.words.splitlines()[-1]}" if error.words else ""
        raise _failed(path, f"exit code {error.code}{last}") from error
    finally:
        child.stop()
    if "error" in found:
        raise getattr(errors, found["error"])(*found["parts"])
    return found, rest


def _read(child: ChildPipes, size: int) -> bytes:
    data = bytearray(size)
    child.fill(memoryview(data))
    return bytes(data)


def _failed(path: str, how: str) -> VideoUnreadable:
    return VideoUnreadable(
        f"{path!r}, on which the decoder failed ({how})",
        "a video or image that can be decoded",
        "check the file, or convert it to MP4",
    )


def _took_too_long(path: str, limits: Limits) -> VideoTooLarge:
    return VideoTooLarge(
        f"{path!r}, which took too long to examine",
        f"at most {limits.cpu_seconds} s",
        "convert it to MP4, or raise Limits.cpu_seconds",
    )
