"""Sparse frames through decord 0.6.0: plain h264, hevc and vp9 in MP4, MOV and MKV.

decord answers some files with frames that are shifted or made up (MPEG-TS, edit lists, damage) and says nothing. So its fault
tolerance is set to none, its list of times must equal ours, and whatever it cannot do exactly is left to PyAV.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vglamm.media.orientation import resize_to
from vglamm.media.probe import Scan

log = logging.getLogger(__name__)

# Below one frame for any length: decord raises when the number of recovered frames is above FAULT_TOL x length.
FAULT_TOL = 1e-9


def available() -> bool:
    """Whether decord is installed (it has wheels for x86-64 only)."""
    return importlib.util.find_spec("decord") is not None


def frames_at(scan: Scan, indices: Sequence[int]) -> NDArray[np.uint8] | None:
    """uint8[K, H, W, 3] of ``indices``, in the order asked, or None if decord cannot be relied on for this file."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # A reader for each call: decord's readers grow with every batch and cannot be pickled.
        reader = decord.VideoReader(scan.info.path, num_threads=1, fault_tol=FAULT_TOL)
        if not _same_times(reader, scan):
            log.info("decord lists other frames than the container of %s: PyAV reads it", scan.info.path)
            return None
        unique, back = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        frames: NDArray[np.uint8] = reader.get_batch(unique).asnumpy()
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError) as error:
        log.info("decord refuses %s (%s): PyAV reads it", scan.info.path, str(error).splitlines()[0])
        return None
    size = (scan.info.width, scan.info.height)
    if frames.shape[1:3] == (size[1], size[0]):
        return frames[back]
    return np.stack([resize_to(frame, size) for frame in frames])[back]


def _same_times(reader: object, scan: Scan) -> bool:
    count = len(scan.pts)
    if len(reader) != count:  # type: ignore[arg-type]
        return False
    starts = reader.get_frame_timestamp(np.arange(count))[:, 0]  # type: ignore[attr-defined]
    ours = scan.pts * float(scan.time_base)
    # decord keeps seconds in float32, and counts from its own start.
    return bool(np.all(np.abs((starts - starts[0]) - (ours - ours[0])) < 1e-3 + 1e-6 * np.abs(ours - ours[0])))
