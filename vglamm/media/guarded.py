"""Decoding that cannot kill, hang or bloat the process that asks for it: a video whose frames are decoded in a child process.

A file that crashes a decoder, exhausts memory or loops for ever costs that child and raises a VideoError here. The frames are those
of the unguarded source, bit for bit, since the child runs the same one. It costs a few milliseconds for a child, which a nursery
forks (:mod:`vglamm.media.forked`), and 15 to 20 % more processor time for each frame (4K: 50 instead of 43 ms).
"""

from __future__ import annotations

import contextlib
import math
import os
import weakref
from collections.abc import Iterator

from vglamm.media import decode_child as child
from vglamm.media.decoder_process import DecoderProcess
from vglamm.media.limits import Limits
from vglamm.media.read import Frames, VideoSource, open_video


class GuardedSource(VideoSource):
    """``inner``, decoded in a child process of which this one asks for frames.

    The child has ``limits.memory`` of address space, the processor time that :class:`Limits` gives to one request, and
    ``limits.stall_seconds`` from one decoded picture to the next. It is started when frames are first asked for and kept for the
    next request, until :meth:`close` or the end of this object; requests at the same time, of several threads or of several
    iterators, get a child each, of which ``waiting`` are kept. Closing an iterator before its end kills its child at once.

    Besides the errors of ``inner`` this raises VideoTooLarge for a decoder that goes over a limit, and VideoUnreadable for one
    that ends in any other way before it has given its frames.
    """

    def __init__(self, inner: VideoSource, limits: Limits | None = None, waiting: int = 1) -> None:
        """inner: any source that can be pickled; it is used in the child only."""
        assert not isinstance(inner, GuardedSource), "one guard is enough"
        self.inner, self.limits, self.waiting = inner, limits or Limits(), waiting
        self.info, self.times, self.truncated = inner.info, inner.times, inner.truncated
        self._idle: list[DecoderProcess] = []
        weakref.finalize(self, _stop, self._idle, 0)

    def __reduce__(self) -> tuple[type[GuardedSource], tuple[VideoSource, Limits, int]]:
        return type(self), (self.inner, self.limits, self.waiting)  # a child belongs to the process that started it

    def close(self, waiting: int = 0) -> None:
        """End the children that wait for the next request, but for ``waiting`` of them. The source stays usable."""
        _stop(self._idle, waiting)

    def _walk(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        return self._ask(child.WALK, wanted)

    def _apart(self, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        return self._ask(child.APART, wanted)

    def _ask(self, way: bytes, wanted: list[int]) -> Iterator[tuple[int, Frames]]:
        if not wanted:
            return
        megapixels = self.info.width * self.info.height * len(self) / 1e6
        seconds = math.ceil(self.limits.cpu_seconds + self.limits.cpu_seconds_per_megapixel * megapixels)
        process = self._take()
        try:
            yield from process.frames(way, wanted, seconds)
        except BaseException:  # an error, or the iterator was closed
            process.stop()
            raise
        self._idle.append(process)
        _stop(self._idle, self.waiting)

    def _take(self) -> DecoderProcess:
        with contextlib.suppress(IndexError):  # none, or another thread was faster
            process = self._idle.pop()
            if process.usable():
                return process
            process.stop()
        return DecoderProcess(self.inner, self.limits)


def open_guarded(
    path: str | os.PathLike[str], limits: Limits | None = None, *, fps: float | None = None, verify: bool = False, waiting: int = 1
) -> GuardedSource:
    """As :func:`vglamm.media.read.open_video` for a video, an image or a folder of frame images, but decoded in a child process.

    waiting: children that are kept for the next requests. Raises as ``open_video``; reading frames raises as :class:`GuardedSource`
    says.
    """
    return GuardedSource(open_video(path, limits, fps=fps, verify=verify), limits, waiting)


def _stop(idle: list[DecoderProcess], left: int) -> None:
    """End the newest but ``left``. Threads may take and bring others meanwhile."""
    while len(idle) > left:
        with contextlib.suppress(IndexError):
            idle.pop().stop()
