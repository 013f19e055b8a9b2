"""What the first bytes of a file say, before any decoder sees it: image or not, and whether the container was cut short."""

from __future__ import annotations

import os
from typing import BinaryIO

HEAD = 64
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_TS_PACKET = 188
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}  # bytes of the header after the first one, which says its own length


def image_format(head: bytes) -> str | None:
    """ "JPEG", "PNG", "WEBP" or "BMP" for a still image's first bytes, else None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "WEBP" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as TIFF does, and raw pictures of cameras with it: no one thing that a reader could be careful with."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def indexed_container(head: bytes) -> str | None:
    """ "mov" (MP4, MOV) or "matroska" (MKV, WebM) by their signature, else None."""
    if head[4:8] == b"ftyp":
        return "mov"
    return "matroska" if head.startswith(_EBML) else None


def cut_short(path: str) -> bool:
    """Whether the container's own sizes say that bytes are missing at the end.

    Knows MP4 and MOV (the last top-level box), Matroska and WebM (the segment), AVI (the RIFF chunk) and MPEG-TS (whole packets
    of 188 bytes). A size of "unknown", as live streams have, tells nothing: False.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(HEAD)
        kind = indexed_container(head)
        if kind == "mov":
            return _boxes_end(file, size) > size
        if kind == "matroska":
            return _segment_end(file) > size
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return int.from_bytes(head[4:8], "little") + 8 > size
    return head[:1] == b"\x47" and size >= 2 * _TS_PACKET and size % _TS_PACKET != 0 and _is_ts(path)


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of an MP4 says that it ends (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 0:  # up to the end of the file
            return size
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # not a box: nothing more can be said
            return size
        at += length
    return at if at >= size else size + 1


def _segment_end(file: BinaryIO) -> int:
    """Where the Matroska segment says that it ends, 0 if it does not say (RFC 8794, 4 and 6)."""
    file.seek(4)
    header, _ = _vint(file)
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length, unknown = _vint(file)
    return 0 if unknown else file.tell() + length


def _vint(file: BinaryIO) -> tuple[int, bool]:
    """A variable-size integer of EBML and whether it is the reserved "unknown"."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, True
    width = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return value, value == (1 << 7 * width) - 1


def _is_ts(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(_TS_PACKET)
        return file.read(1) == b"\x47"
