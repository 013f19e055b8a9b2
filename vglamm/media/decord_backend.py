"""Sparse frames through decord 0.6.0: plain h264, hevc and vp9 in MP4, MOV and MKV.

decord answers some files with frames that are shifted or made up (MPEG-TS, edit lists, damage) and says nothing. So its fault
tolerance is set to none, its list of times must equal ours, and whatever it cannot do exactly is left to PyAV.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vglamm.media.orientation import resize_to
from vglamm.media.probe import Scan

# Below one frame for any length: decord raises when the number of recovered frames is above FAULT_TOL x length.
FAULT_TOL = 1e-9


def available() -> bool:
    """Whether decord is installed (it has wheels for x86-64 only)."""
    return importlib.util.find_spec("decord") is not None


class Refused(Exception):
    """decord cannot be relied on for a file. What it gave before is to be forgotten."""


def walk(scan: Scan, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(index, uint8[H, W, 3]) for each of ``indices``, which increase; one frame in memory at a time besides decord's own.

    Raises Refused, at any frame, if decord cannot be relied on for this file.
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    size = (scan.info.width, scan.info.height)
    try:
        # A reader for each call: decord's readers cannot be pickled.
        reader = decord.VideoReader(scan.info.path, num_threads=1, fault_tol=FAULT_TOL)
        if not _same_times(reader, scan):
            raise Refused(f"decord lists other frames than the container of {scan.info.path}")
        for index in indices:
            # A batch of one frame: with all of them in one, decord holds every picture twice.
            yield index, resize_to(reader.get_batch([index]).asnumpy()[0], size)
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError, UnicodeEncodeError) as error:
        raise Refused(f"decord refuses {scan.info.path} ({str(error).splitlines()[0]})") from error


def _same_times(reader: object, scan: Scan) -> bool:
    count = len(scan.pts)
    if len(reader) != count:  # type: ignore[arg-type]
        return False
    starts = reader.get_frame_timestamp(np.arange(count))[:, 0]  # type: ignore[attr-defined]
    ours = scan.pts * float(scan.time_base)
    # decord keeps seconds in float32, and counts from its own start.
    return bool(np.all(np.abs((starts - starts[0]) - (ours - ours[0])) < 1e-3 + 1e-6 * np.abs(ours - ours[0])))
