"""Decoding in a process of its own. Started, fed and stopped by :mod:`vglamm.media.decoder_process`; imports no torch.

Standard input brings a pickled :class:`~vglamm.media.read.VideoSource`, then requests for frames. What was standard output takes
the answers: a header each, and the bytes it announces. Nothing that comes out of a decoder is ever pickled.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import pickle
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import IO

import av
import numpy as np

from vglamm.errors import VglammError, VideoFrameError, VideoTooLarge
from vglamm.media.isolation import leave_network
from vglamm.media.read import VideoSource

SOURCE = struct.Struct("<Q")
"""Before the pickled source: its bytes."""
REQUEST = struct.Struct("<cQQ")
"""A request: WALK or APART, its processor time in seconds, how many indices (int64) follow."""
ANSWER = struct.Struct("<cqII")
"""An answer: its kind, then for FRAME the index, height and width, with uint8[H, W, 3] behind it; for ERROR the bytes of JSON
behind it; for READY, BEAT (still decoding, no frame yet) and END nothing."""
PRELOAD = ("decord", "vglamm.media.av_backend", "vglamm.media.decord_backend")
"""Imported before the fork, since most videos need them."""
WALK, APART = b"w", b"a"
READY, BEAT, FRAME, END, ERROR = b"r", b"b", b"f", b"e", b"x"

_BEAT_SECONDS = 0.25
_FILES = 64
_START_BYTES = 8 * 1024**2  # of stacks and tables before the first picture


def main(memory: int, offline: bool) -> None:
    """Serve requests until standard input ends. memory: address space of this process in bytes. offline: without a network."""
    if offline:
        leave_network()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        _serve(memory)


def _serve(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, and it decides
    av.logging.set_level(None)
    requests, answers = _channels()
    (size,) = SOURCE.unpack(requests.read(SOURCE.size))
    source: VideoSource = pickle.loads(requests.read(size))
    if _status("VmSize") + _START_BYTES > memory:  # a limit below what is there ends a process by SIGSEGV, at any moment
        answers.fail(too_much_memory(source.info.path, memory))
        return
    _limit_process(memory)
    source.progress = answers.beat
    answers.send(READY)
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        way, seconds, count = REQUEST.unpack(head)
        wanted = np.frombuffer(requests.read(8 * count), np.int64).tolist()
        with _bound_to_parent():
            _allow(seconds)
            error = _decode(source, way, wanted, memory, answers)
        # The parent may write again once it has this, so it must come after the binding ends.
        answers.send(END) if error is None else answers.fail(error)


def _decode(source: VideoSource, way: bytes, wanted: list[int], memory: int, answers: Answers) -> VglammError | None:
    """Send the frames of ``wanted``; the error that ended them, if one did."""
    try:
        for index, frame in source._walk(wanted) if way == WALK else source._apart(wanted):
            answers.send(FRAME, index, frame.shape[0], frame.shape[1], np.ascontiguousarray(frame).data)
    except VideoFrameError as error:
        # FFmpeg passes over a picture for which it gets no memory as over a damaged one.
        picture = 3 * source.info.width * source.info.height
        return too_much_memory(source.info.path, memory) if _status("VmPeak") + 4 * picture > memory else error
    except VglammError as error:
        return too_much_memory(source.info.path, memory) if os.strerror(errno.ENOMEM) in error.got else error
    except MemoryError:
        return too_much_memory(source.info.path, memory)
    return None


def _status(name: str) -> int:
    """VmSize or VmPeak: the address space that this process has, or the largest that it had, in bytes; 0 where the system does not
    say."""
    try:
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return 0


def too_much_memory(path: str, memory: int) -> VideoTooLarge:
    """What is raised for a video whose decoder asks for more than ``memory`` bytes."""
    return VideoTooLarge(
        f"{path!r}, which needs more memory to decode than allowed", f"at most {memory} bytes", "scale it, or raise Limits.memory"
    )


class Answers:
    """What this process writes to its parent. Blocks while the parent does not read: so memory stays bounded."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = time.monotonic()

    def send(self, kind: bytes, number: int = 0, height: int = 0, width: int = 0, body: bytes | memoryview = b"") -> None:
        for part in (ANSWER.pack(kind, number, height, width), body):
            view = memoryview(part).cast("B")
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._last = time.monotonic()

    def beat(self) -> None:
        """Tell the parent, not too often, that the decoder still gives pictures."""
        if time.monotonic() - self._last > _BEAT_SECONDS:
            self.send(BEAT)

    def fail(self, error: VglammError) -> None:
        body = json.dumps([type(error).__name__, error.got, error.expected, error.fix]).encode()
        self.send(ERROR, len(body), body=body)


def _channels() -> tuple[IO[bytes], Answers]:
    """Requests and answers. What anything else prints goes to standard error, so that it cannot get between the frames."""
    answers = Answers(os.dup(1))
    os.dup2(2, 1)
    return open(0, "rb", closefd=False), answers


def _limit_process(memory: int) -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # a system short of memory ends this process, not the one that asks it
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES)
    _limit(resource.RLIMIT_AS, memory)


def _allow(seconds: int) -> None:
    """At most ``seconds`` of processor time from now on; SIGXCPU after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + seconds)


def _limit(kind: int, value: int) -> None:
    """Set a soft limit, as far as the hard one allows, which only a privileged process could raise again."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


@contextlib.contextmanager
def _bound_to_parent() -> Iterator[None]:
    """The kernel ends this process when the parent does, also in a loop of C code that never lets Python run.

    The parent's end of standard input closes with it, which as asynchronous input raises SIGIO. Not PR_SET_PDEATHSIG: that fires
    when the *thread* ends that started the child. Between requests a plain read of standard input sees the end.
    """
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
    hung_up = select.poll()
    hung_up.register(0, 0)
    if hung_up.poll(0):  # it went before the signal was set up
        sys.exit(1)
    try:
        yield
    finally:
        fcntl.fcntl(0, fcntl.F_SETFL, flags)
