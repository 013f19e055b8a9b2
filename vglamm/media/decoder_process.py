"""The parent's side of a child process that decodes: start it, ask it, check what it answers, and say how it died."""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np

from vglamm import errors
from vglamm.errors import VglammError, VideoError, VideoTooLarge, VideoUnreadable
from vglamm.media import decode_child as child
from vglamm.media.child_pipes import ChildEnded, ChildPipes, ChildStalled
from vglamm.media.limits import Limits
from vglamm.media.read import Frames, VideoSource

_START_SECONDS = 60.0  # imports from a slow disk on a busy machine
_ERROR_BYTES = 64 * 1024
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "failed to map segment")


class DecoderProcess:
    """One child that decodes one video, for one request at a time. Any error ends it."""

    def __init__(self, source: VideoSource, limits: Limits) -> None:
        """Start the child and hand it ``source``. Raises EnvironmentProblem if no process can be started, and VideoError."""
        self._path, self._limits = source.info.path, limits
        self._size = source.info.height, source.info.width
        self._given = 0
        data = pickle.dumps(source)
        self._pipes = ChildPipes(child.__name__, [limits.memory, limits.offline], max(limits.stall_seconds, _START_SECONDS))
        try:
            with self._blamed():
                self._pipes.send(child.SOURCE.pack(len(data)) + data)
                kind, number, _, _ = self._answer()
                if kind != child.READY:
                    raise self._error(number) if kind == child.ERROR else self._nonsense()
        except BaseException:
            self._pipes.stop()
            raise
        self._pipes.patience = limits.stall_seconds

    def usable(self) -> bool:
        """Whether the child lives and belongs to this process."""
        return self._pipes.usable()

    def stop(self) -> None:
        """End the child at once. Does nothing the second time."""
        self._pipes.stop()

    def frames(self, way: bytes, wanted: list[int], seconds: int) -> Iterator[tuple[int, Frames]]:
        """(index, uint8[H, W, 3]) as the child decodes them. The answer must be read to its end before the next request.

        way: ``WALK``, in the order of ``wanted``, or ``APART``, which may begin again from the first. seconds: processor time.
        Raises VideoError, after which the child is of no use.
        """
        self._given = 0
        with self._blamed():
            self._pipes.send(child.REQUEST.pack(way, seconds, len(wanted)) + np.array(wanted, np.int64).tobytes())
            while True:
                kind, number, height, width = self._answer()
                if kind == child.FRAME:
                    if way == child.APART and number == wanted[0]:
                        self._given = 0
                    if (height, width) != self._size or self._given >= len(wanted) or number != wanted[self._given]:
                        raise self._nonsense()
                    frame = np.empty((height, width, 3), np.uint8)
                    self._pipes.fill(frame.data.cast("B"))
                    self._given += 1
                    yield number, frame
                elif kind == child.END and self._given == len(wanted):
                    return
                elif kind == child.ERROR:
                    raise self._error(number)
                elif kind != child.BEAT:
                    raise self._nonsense()

    def _answer(self) -> tuple[bytes, int, int, int]:
        head = bytearray(child.ANSWER.size)
        self._pipes.fill(memoryview(head))
        kind, number, height, width = child.ANSWER.unpack(head)
        return kind, number, height, width

    def _error(self, size: int) -> VglammError:
        """The error that the child sent, in ``size`` bytes of JSON."""
        if not 0 < size <= _ERROR_BYTES:
            return self._nonsense()
        body = bytearray(size)
        self._pipes.fill(memoryview(body))
        try:
            name, *parts = json.loads(body)
        except ValueError:
            return self._nonsense()
        kind: Any = getattr(errors, name, None) if isinstance(name, str) else None
        if not (isinstance(kind, type) and issubclass(kind, VglammError)) or [type(part) for part in parts] != [str] * 3:
            return self._nonsense()
        return kind(*parts)

    def _nonsense(self) -> VideoUnreadable:
        return VideoUnreadable(
            f"{self._path!r}, whose decoder gave no sensible answer after {self._given} frames",
            "the frames that were asked for",
            "check the file, or convert it to MP4",
        )

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """What happens to the child inside is raised as an error of the video."""
        try:
            yield
        except ChildStalled as error:
            raise VideoTooLarge(
                f"{self._path!r}, whose decoder gave nothing for {self._pipes.patience:g} s after {self._given} frames",
                f"a picture every {self._pipes.patience:g} s at least",
                "check the file, convert it to MP4, or raise Limits.stall_seconds",
            ) from error
        except ChildEnded as error:
            if error.code is None:  # it closed the pipe and lives
                raise self._nonsense() from error
            raise death(self._path, error.code, error.words, self._given, self._limits) from error


def death(path: str, code: int, words: str, given: int, limits: Limits) -> VideoError:
    """What to raise for a child that ended by itself, having given so many frames.

    code: as of subprocess, a signal is negative. words: the end of what it said.
    """
    if code == -signal.SIGXCPU:
        return VideoTooLarge(
            f"{path!r}, which took too much processor time to decode, after {given} frames",
            f"at most {limits.cpu_seconds} s and {limits.cpu_seconds_per_megapixel} s for each million pixels",
            "convert it to MP4, or raise Limits.cpu_seconds",
        )
    if any(sign in words for sign in _OUT_OF_MEMORY):
        return child.too_much_memory(path, limits.memory)
    if code == -signal.SIGKILL:
        return VideoTooLarge(
            f"{path!r}, whose decoder was killed by the system after {given} frames, most likely for memory",
            f"a machine with up to {limits.memory} bytes to spare for each decoder",
            "run fewer at once, or lower Limits.memory",
        )
    try:
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    except ValueError:
        how = f"by signal {-code}"
    last = f": {words.splitlines()[-1][:200]}" if words else ""
    return VideoUnreadable(
        f"{path!r}, on which the decoder ended {how} after {given} frames{last}",
        "a video that can be decoded",
        "check the file, or convert it to MP4",
    )
