"""A process that forks children to examine and to decode in: it has imported what they need, so that one is there in milliseconds.

Runs behind :mod:`vglamm.media.forked`, which starts one for each process that reads videos. It has one thread and never looks
into a file itself: what a file does to its decoder it does to a child. When the process that it serves ends, in whatever way, it
ends its children and itself. Imports no torch.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

HEAD = struct.Struct("<Q")
"""Before a request: bytes of its JSON. With it come, for a child to be born, descriptors for its standard input, output and error,
and one for its status."""
STATUS = struct.Struct("<q")
"""On a status descriptor: the child's number, or a negative errno; later its exit code, as of subprocess a signal is negative."""
DESCRIPTORS = 4


def main(door: int) -> None:
    """Serve the requests that come through the socket ``door`` until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that is served too, and it decides
    with socket.socket(fileno=door) as requests:
        Nursery(requests).serve()


class Nursery:
    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._alive: dict[int, int] = {}  # number of a child -> where its status goes
        self._woken, waking = os.pipe()
        for end in (self._woken, waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with a handler, the end of a child writes to ``waking``

    def serve(self) -> None:
        poll = select.poll()
        for descriptor in (self._door.fileno(), self._woken):
            poll.register(descriptor, select.POLLIN)
        open_ = True
        while open_:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._woken in ready:
                self._reap()
            if self._door.fileno() in ready:
                open_ = self._answer()
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)

    def _answer(self) -> bool:
        """Do what the next request says; False if there will be none."""
        head, descriptors, _, _ = socket.recv_fds(self._door, HEAD.size, DESCRIPTORS)
        if len(head) < HEAD.size:
            return False
        (left,) = HEAD.unpack(head)
        body = b""
        while len(body) < left:
            piece = self._door.recv(left - len(body))
            if not piece:
                return False
            body += piece
        asked = json.loads(body)
        if "kill" in asked:
            if asked["kill"] in self._alive:  # not reaped, so the number is still its own
                os.kill(asked["kill"], signal.SIGKILL)
        else:
            self._bear(asked, descriptors)
        return True

    def _bear(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        *streams, status = descriptors
        sys.path[:] = asked["path"]
        _preload(asked["module"])
        try:
            pid = os.fork()
        except OSError as error:
            _tell(status, -(error.errno or 1))
            descriptors.append(status)
            pid = -1
        if pid == 0:
            _live(asked, streams)
        if pid > 0:
            self._alive[pid] = status
            _tell(status, pid)
        for descriptor in streams if pid > 0 else {*streams, status}:
            os.close(descriptor)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 1024):
                pass
        while self._alive:
            pid, how = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            status = self._alive.pop(pid)
            _tell(status, os.waitstatus_to_exitcode(how))
            os.close(status)


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(status, STATUS.pack(number))


def _preload(module: str) -> None:
    """Import what a child will need. What cannot be imported fails in the child, which says so."""
    with contextlib.suppress(ImportError):
        for name in getattr(importlib.import_module(module), "PRELOAD", ()):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _live(asked: dict[str, Any], streams: list[int]) -> None:
    """The whole life of a child, from the fork to its end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.closerange(len(streams), os.sysconf("SC_OPEN_MAX"))
        run: Callable[..., None] = importlib.import_module(asked["module"]).main
        run(*asked["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        if (error := sys.exception()) is not None:
            traceback.print_exception(error)
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
