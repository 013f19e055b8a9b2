"""Examining a video or image. Runs in a child process of its own with hard limits: see :mod:`vglamm.media.probe`.

Imports no torch and no numpy. What it finds is written to standard output: a header, JSON, then (``full``) the presentation times
of all frames as int64 in units of ``time_base`` and one byte each that tells key frames.
"""

from __future__ import annotations

import itertools
import json
import resource
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from vglamm.errors import VglammError, VideoTooLarge, VideoUnreadable
from vglamm.media.isolation import leave_network
from vglamm.media.limits import Limits
from vglamm.media.orientation import Orientation, display_size, from_display_matrix
from vglamm.media.sniff import HEAD, cut_short, image_format, indexed_container, is_tiff

PRELOAD = ("av", "PIL.Image", "vglamm.media.container")
"""Imported before the fork."""
FINDINGS = struct.Struct("<QQ")
"""Before what was found: bytes of the JSON, and of what follows it."""

# Enough to open a container and read its headers; FFmpeg may try to decode a picture while it opens one.
_OPENING_BYTES = 640 * 1024**2
_ASKING_BYTES = 400 * 1024**2
# In these, one packet is one shown frame, and a packet of MP4, MOV, MKV and WebM carries its true presentation time.
_TRUSTED_CODECS = {"h264", "hevc", "vp9", "av1"}
# What decord 0.6.0 (FFmpeg 4.1) turns into the same RGB as the FFmpeg of PyAV. Measured; 10-bit differs by 2 levels on average.
_DECORD_CODECS = {"h264", "hevc", "vp9"}
_DECORD_FORMATS = {"yuv420p", "yuvj420p", "yuv422p", "yuv444p"}
# NAL unit types of pictures that nothing after them looks behind: IDR (H.264 table 7-1; H.265 table 7-1). VP9 has no other kind.
_CLEAN_STARTS = {"h264": {5}, "hevc": {19, 20}}
# Images that may move. Further pictures of a JPEG are the previews and gain maps that cameras put behind the one that is meant.
_ANIMATED = {"PNG", "WEBP"}


@dataclass
class Packets:
    """What the packets of a video stream say, without decoding them."""

    pts: list[int] = field(default_factory=list)
    keys: set[int] = field(default_factory=set)
    seen: int = 0
    complete: bool = True  # each packet has a time of its own, and the first one is a key frame
    # decord counts frames from a key frame on, so a key frame must begin a run that is whole and in order: no picture after it
    # in the file may precede it on the screen or look behind it (open GOP, which is x265's default; intra refresh).
    closed: bool = True
    usable: int = 0  # packets that should each give a frame
    cut: bool = False  # the container ends in an error or in half a packet


def main(path: str, full: bool, verify: bool, allowed: dict[str, Any]) -> None:
    """Examine ``path``, write the findings (or the error, typed) to standard output. allowed: the fields of a :class:`Limits`."""
    limits = Limits(**allowed)
    if limits.offline:
        leave_network()
    _limit_process(limits)
    pts, keys = array("q"), bytearray()
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
        kind = image_format(head)
        if is_tiff(head):
            raise VideoUnreadable(f"{path!r}, a TIFF image", "a video, or an image as JPEG, PNG, WebP or BMP", "convert it to PNG")
        found = _image(path, kind, limits) if kind else _video(path, head, full, verify, limits, pts, keys)
    except VglammError as error:
        found = {"error": type(error).__name__, "parts": [error.got, error.expected, error.fix]}
    except MemoryError:
        parts = [f"{path!r}, which needs more memory than allowed", f"at most {limits.memory} bytes", "raise Limits.memory"]
        found = {"error": VideoTooLarge.__name__, "parts": parts}
    out, told = sys.stdout.buffer, json.dumps(found).encode()
    out.write(FINDINGS.pack(len(told), pts.itemsize * len(pts) + len(keys)))
    out.write(told)
    out.write(pts.tobytes())
    out.write(bytes(keys))
    out.flush()


def _limit_process(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_AS, (min(_OPENING_BYTES, limits.memory), limits.memory))


def _image(path: str, kind: str, limits: Limits) -> dict[str, Any]:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the limit below is the one that counts
    try:
        with Image.open(path, formats=[kind]) as image:
            width, height = image.size
            limits.check_size(width, height)
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)  # these swap width and height
            shown = getattr(image, "n_frames", 1) if kind in _ANIMATED else 1
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise VideoUnreadable(
            f"{path!r}, a damaged {kind} image ({error})", "an image that opens", "download or export it again"
        ) from error
    if shown > 1:
        raise VideoUnreadable(f"an animated {kind} of {shown} frames", "a still image or a video", "convert the animation to MP4")
    if turned:
        width, height = height, width
    return {
        "width": width, "height": height, "frames": 1, "fps": 0.0, "seconds": 0.0, "codec": kind.lower(), "container": kind.lower(),
        "is_image": True, "time_base": [1, 1],
    }  # fmt: skip


def _video(path: str, head: bytes, full: bool, verify: bool, limits: Limits, pts: array[int], keys: bytearray) -> dict[str, Any]:
    import av

    from vglamm.media.container import decoded, opened, video_streams

    av.logging.set_level(None)
    with opened(path, limits.pixels) as (container, stream):
        if not stream.codec_context.width:
            _check_refused_size(path, limits)
        found = _header(container, stream, limits)
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
        first = next(decoded(container, stream), None)
        if first is None:
            raise VideoUnreadable(
                f"{path!r} without a frame that can be decoded", "at least one good frame", "download or copy it again"
            )
        found |= _shown(first, stream, limits)
        several, averaged = len(video_streams(container)) > 1, bool(stream.average_rate)
    if not full and averaged and found["seconds"]:
        return found
    with opened(path, limits.pixels) as (container, stream):
        packets = _packets(container, stream, limits)
        listed = stream.frames
    indexed = indexed_container(head)
    # The index of an MP4 lists every packet; the count in an AVI header is only what the recorder believed.
    truncated = packets.cut or (indexed == "mov" and packets.seen < listed) or cut_short(path)
    trusted = packets.complete and found["codec"] in _TRUSTED_CODECS and indexed is not None
    ordinal = False
    if trusted and not truncated and not verify:
        pts.extend(sorted(packets.pts))
    else:
        ordinal = _count(path, truncated, found["fps"], Fraction(*found["time_base"]), limits, pts)
    _complete(found, averaged, pts, limits)
    keys.extend(time in packets.keys for time in pts)
    plain = (
        trusted and not truncated and packets.closed and not several and found["codec"] in _DECORD_CODECS
        and found["pixel_format"] in _DECORD_FORMATS and not found["mirrored"] and (found["rotation"] == 0 or indexed == "mov")
    )  # fmt: skip
    return found | {
        "truncated": truncated,
        "ordinal": ordinal,
        "seekable": trusted and not ordinal,
        "plain": plain,
        "exact": len(pts),
    }


def _check_refused_size(path: str, limits: Limits) -> None:
    """FFmpeg forgets the size of a picture that it has refused to make room for. Ask again, with little room and no such limit."""
    from vglamm.media.container import opened

    resource.setrlimit(resource.RLIMIT_AS, (min(_ASKING_BYTES, limits.memory), limits.memory))
    with opened(path, 2**31 - 1) as (_, stream):
        limits.check_size(stream.codec_context.width, stream.codec_context.height)


def _header(container: Any, stream: Any, limits: Limits) -> dict[str, Any]:
    """What the container's header says, checked against the limits before the first picture is decoded."""
    limits.check("streams", len(container.streams))
    context = stream.codec_context
    limits.check_size(context.width, context.height)
    seconds = 0.0
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    limits.check("seconds", seconds)
    limits.check("frames", stream.frames)
    limits.check("fps", float(stream.average_rate or 0))
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return {
        "frames": stream.frames or None, "fps": fps, "seconds": seconds, "codec": context.codec.canonical_name,
        "container": container.format.name, "is_image": False, "time_base": list(stream.time_base.as_integer_ratio()),
    }  # fmt: skip


def _shown(frame: Any, stream: Any, limits: Limits) -> dict[str, Any]:
    """How the first frame is to be shown, which holds for all."""
    matrix = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    way = Orientation() if matrix is None else from_display_matrix(matrix)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    limits.check_size(frame.width * aspect, frame.height)
    width, height = display_size(frame.width, frame.height, aspect, way)
    return {
        "width": width, "height": height, "rotation": way.rotation or 0, "mirrored": way.rotation is None,
        "orientation": asdict(way), "pixel_aspect": aspect, "pixel_format": frame.format.name,
    }  # fmt: skip


def _packets(container: Any, stream: Any, limits: Limits) -> Packets:
    import av

    found, key_pts, times, damaged_at = Packets(), None, set[int](), -9
    codec = stream.codec_context.codec.canonical_name
    try:
        for packet in container.demux(stream):
            found.seen += packet.dts is not None or packet.pts is not None
            if packet.size == 0:  # a dropped frame, or the end
                continue
            if found.seen > limits.frames:
                limits.check("frames", found.seen)
            # A parser may hold back two packets, so half a packet at the end need not be the very last.
            damaged_at = found.seen if packet.is_corrupt else damaged_at
            found.cut = found.seen - damaged_at <= 2
            if packet.is_discard:
                continue
            found.usable += 1
            if packet.pts is None or packet.pts in times or (key_pts is None and not packet.is_keyframe):
                found.complete = False
                continue
            times.add(packet.pts)
            if packet.is_keyframe:
                found.keys.add(packet.pts)
                key_pts = packet.pts
                found.closed = found.closed and _starts_clean(bytes(packet), codec)
            elif packet.pts < key_pts:
                found.closed = False
                found.complete &= len(found.keys) > 1  # such pictures after the first key frame have nothing to refer to
            found.pts.append(packet.pts)
    except av.error.FFmpegError:
        found.cut = True
    return found


def _starts_clean(data: bytes, codec: str) -> bool:
    """Whether a key frame's packet (NAL units behind 4-byte lengths, as in MP4 and MKV) holds an IDR picture."""
    if codec not in _CLEAN_STARTS:
        return True
    at = 0
    while at + 5 <= len(data):
        kind = data[at + 4] & 0x1F if codec == "h264" else data[at + 4] >> 1 & 0x3F
        if kind in _CLEAN_STARTS[codec]:
            return True
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return False


def _complete(found: dict[str, Any], averaged: bool, pts: Sequence[int], limits: Limits) -> None:
    """What the header does not say and the times of all frames do. Recorders in a browser leave out the average rate and never come
    back to write the length; what FFmpeg guesses for a rate then is the grid of the times, 1000 a second in WebM. It stays for a
    frame that is alone, and is no reason to refuse that."""
    span = float((pts[-1] - pts[0]) * Fraction(*found["time_base"]))
    if not averaged and span > 0:
        found["fps"] = (len(pts) - 1) / span
        limits.check("fps", found["fps"])
    if not found["seconds"]:
        found["seconds"] = span + (1 / found["fps"] if found["fps"] else 0.0)
        limits.check("seconds", found["seconds"])


def _count(path: str, strict: bool, fps: float, time_base: Fraction, limits: Limits, pts: array[int]) -> bool:
    """Decode everything and fill ``pts`` with the time of each frame that comes out.

    Returns whether frames can only be told by their number, since their times are missing or do not increase; the times are
    then those of a constant rate. ``strict``: end at the first damage.
    """
    from vglamm.media.container import decoded, opened

    times: list[int | None] = []
    with opened(path, limits.pixels) as (container, stream):
        for frame in decoded(container, stream, strict):
            limits.check("frames", len(times) + 1)
            times.append(frame.pts)
    if not times:
        raise VideoUnreadable(f"{path!r} without a good frame", "at least one good frame", "download or copy it again")
    known = [time for time in times if time is not None]
    if len(known) == len(times) and all(a < b for a, b in itertools.pairwise(known)):
        pts.extend(known)
        return False
    step = 1 / (Fraction(fps).limit_denominator(100_000) or Fraction(25)) / time_base
    pts.extend(round((known[0] if known else 0) + i * step) for i in range(len(times)))
    return True
