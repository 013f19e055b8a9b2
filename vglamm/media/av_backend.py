"""Frames through PyAV: every container, bounded memory, and the judge of the other backend."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vglamm.errors import VideoError, VideoFrameError, VideoUnreadable
from vglamm.media.container import decoded, opened
from vglamm.media.orientation import show
from vglamm.media.probe import Scan


def walk(scan: Scan, indices: Sequence[int], progress: Callable[[], None] | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(index, uint8[H, W, 3]) for each of ``indices``, which increase; one decoded frame in memory at a time.

    progress: called for each picture that is decoded, asked for or not.

    Seeks to key frames where frames in between are not asked for, if the container can be trusted with that; a frame that a
    seek does not give with its exact time is decoded again from the start. Raises VideoFrameError if it is not there even then.
    """
    keys = np.flatnonzero(scan.keys).tolist() if scan.seekable else []
    position = 0
    while position < len(indices):
        start = position
        for key in dict.fromkeys((_key_before(keys, indices[start]), None)):
            for frame in _run(scan, keys, indices[start:], key, progress):
                yield indices[position], frame
                position += 1
            if position > start:
                break
        else:
            raise _lost(scan, indices[start])


def _run(
    scan: Scan, keys: Sequence[int], indices: Sequence[int], key: int | None, progress: Callable[[], None] | None
) -> Iterator[NDArray[np.uint8]]:
    """Frames of ``indices`` in order from one decoder, as far as it gets them exactly.

    key: index of the key frame to seek to, None to decode from the start. Ends where a later key frame is the nearer way.
    """
    with opened(scan.info.path, scan.pixels) as (container, stream):
        if key is not None:
            try:
                container.seek(int(scan.pts[key]), stream=stream)
            except av.error.FFmpegError:
                return
        wanted = 0
        picture = _Picture(scan)
        # After a seek, damage would show in other pixels than without: end there, and begin from the start instead.
        for number, frame in enumerate(decoded(container, stream, strict=scan.truncated or key is not None)):
            if progress is not None:
                progress()
            index = indices[wanted]
            if scan.ordinal:
                hit, missed = number == index, number > index
            else:
                hit, missed = frame.pts == scan.pts[index], frame.pts is None or frame.pts > scan.pts[index]
            if missed or (key is not None and frame.is_corrupt):
                return
            if not hit:
                continue
            yield picture.of(frame)
            wanted += 1
            if wanted == len(indices) or _seek_is_nearer(keys, index, indices[wanted]):
                return


def _key_before(keys: Sequence[int], index: int) -> int | None:
    """The last of ``keys`` (increasing) at or before ``index``, None if that is the start or there is none."""
    place = bisect_right(keys, index)
    return keys[place - 1] or None if place else None


def _seek_is_nearer(keys: Sequence[int], here: int, target: int) -> bool:
    # Opening the container again costs about as much as decoding ten frames.
    key = _key_before(keys, target) if target > here + 10 else None
    return key is not None and key > here + 10


class _Picture:
    """Turns decoded frames into RGB as shown, all of one size."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.reformatter = av.video.reformatter.VideoReformatter()

    def of(self, frame: Any) -> NDArray[np.uint8]:
        try:
            rgb = self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        except av.error.FFmpegError as error:
            raise VideoUnreadable(
                f"a {frame.format.name} picture in {self.scan.info.path!r} that has no way to RGB ({error.strerror})",
                "a usual pixel format",
                "convert the video to yuv420p",
            ) from error
        return show(rgb, self.scan.orientation, (self.scan.info.width, self.scan.info.height))


def _lost(scan: Scan, index: int) -> VideoError:
    return VideoFrameError(
        f"no frame {index} (at {float(scan.pts[index] * scan.time_base):.3f} s) from the decoder of {scan.info.path!r}",
        f"each of the {len(scan.pts)} frames that the container lists",
        "the file is damaged there: open it with verify=True, which lists only the frames that decode",
    )
