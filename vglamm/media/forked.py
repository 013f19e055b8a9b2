"""Processes that a nursery (:mod:`vglamm.media.nursery`) forks for this one: asked for, waited for and killed like children.

A process of its own that imports what decoding takes costs 0.2 s of a core, and each video needs two or three of them; forked from
one that has it all, a child costs hundredths. The nursery is started when the first child is asked for and ends with this process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from vglamm.media.nursery import HEAD, STATUS

# Packages are found where this process finds them, as multiprocessing's spawn arranges it; -P keeps the working directory out.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vglamm.media.nursery import main; main(int(sys.argv[2]))"
# One thread each, and one heap: threads and heaps that are only reserved count against the address space, by the number of cores.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_PATIENCE = 60.0  # imports from a slow disk on a busy machine


class _Lost(OSError):
    """The nursery is gone."""


class _Nursery:
    """This process's end of one."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        settings = (f"{name}={value}" for name, value in _ENVIRONMENT.items())  # `env` becomes the command: no process more
        command = ["env", *settings, sys.executable, "-P", "-c", _START, json.dumps(_paths()), str(theirs.fileno())]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            except OSError:
                ours.close()
                raise
        ours.settimeout(_PATIENCE)
        self._door, self._asking = ours, threading.Lock()

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Raises an OSError if nobody hears it."""
        body = json.dumps(request).encode()
        with self._asking:
            socket.send_fds(self._door, [HEAD.pack(len(body))], list(descriptors))
            self._door.sendall(body)

    def stop(self) -> None:
        self._door.close()  # the nursery sees the end, and ends
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def forget(self) -> None:
        """In a forked process: it is the parent's, and must see the parent's end."""
        self._door.close()
        self._process.returncode = 0


class Forked:
    """A process that runs ``main(*arguments)`` of a module. stdin, stdout, stderr: this process's ends of its pipes."""

    def __init__(self, module: str, arguments: Sequence[Any]) -> None:
        """arguments: anything that JSON can say. Raises OSError if there can be no such process."""
        with contextlib.ExitStack() as undo:
            (child_in, self.stdin), (self.stdout, child_out), (self.stderr, child_err), (self._status, child_status) = (
                _pipe(undo) for _ in range(4)
            )
            request = {"module": module, "arguments": list(arguments), "path": _paths()}
            given = [child_in, child_out, child_err, child_status]
            try:
                self._nursery, self.pid = self._born(request, given)
            except _Lost:  # killed by somebody; a new one is as good
                self._nursery, self.pid = self._born(request, given)
            undo.pop_all()
        self.returncode: int | None = None
        for end in given:
            os.close(end)

    def _born(self, request: dict[str, Any], given: list[int]) -> tuple[_Nursery, int]:
        nursery = _mine()
        try:
            nursery.ask(request, given)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _Lost("it ended") from error
        until = time.monotonic() + _PATIENCE
        while True:
            found = self._read(_LOOK_SECONDS)
            if found is not None:
                break
            if not nursery.alive():
                raise _Lost("it ended")
            if time.monotonic() > until:
                raise TimeoutError(f"no process was forked in {_PATIENCE:g} s")
        if found < 0:
            raise OSError(-found, os.strerror(-found))
        return nursery, found

    def _read(self, seconds: float) -> int | None:
        """The next number on the status pipe, None if there is none in that time. Raises _Lost if there will be none."""
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        if not poll.poll(1000 * seconds):
            return None
        said = os.read(self._status, STATUS.size)
        if not said:
            raise _Lost("it ended")
        return int(STATUS.unpack(said)[0])

    def poll(self) -> int | None:
        """The exit code, a signal negative; None while it lives."""
        return self._look(0.0)

    def _look(self, seconds: float) -> int | None:
        if self.returncode is None:
            try:
                self.returncode = self._read(seconds)
            except _Lost:  # its nursery was killed, which on a machine short of memory is likely the end of both
                self.returncode = -signal.SIGKILL
            if self.returncode is not None:
                os.close(self._status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def kill(self) -> None:
        """SIGKILL. The nursery sends it, which knows whether the number is still that of this child."""
        if self.poll() is None:
            with contextlib.suppress(OSError):  # no nursery any more: its children see their pipes close
                self._nursery.ask({"kill": self.pid})

    def forget(self) -> None:
        """In a forked process: let go of it."""
        if self.returncode is None:
            os.close(self._status)
            self.returncode = 0


_LOOK_SECONDS = 0.5
_guard = threading.Lock()
_nurseries: list[_Nursery] = []


def _mine() -> _Nursery:
    """The nursery of this process, a new one if there is none or it has ended."""
    with _guard:
        if _nurseries and not _nurseries[0].alive():
            _nurseries.pop().stop()
        if not _nurseries:
            _nurseries.append(_Nursery())
        return _nurseries[0]


def _paths() -> list[str]:
    return [path for path in sys.path if path]


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe (to read, to write), closed when ``undo`` is."""
    ends = os.pipe()
    for end in ends:
        undo.callback(os.close, end)
    return ends


def _forget() -> None:
    global _guard
    _guard = threading.Lock()  # another thread may have held it
    while _nurseries:
        _nurseries.pop().forget()


@atexit.register
def _stop() -> None:
    while _nurseries:
        _nurseries.pop().stop()


os.register_at_fork(after_in_child=_forget)
