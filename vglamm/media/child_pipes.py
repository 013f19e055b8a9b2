"""A child process behind three pipes none of which can block its parent for ever: bytes in, bytes out, and its last words.

The pipes have a fixed size, so the child waits whenever this process does not read. (Frames through a ring in shared memory were
measured, too: 2 to 3 ms for one of 1080p, against 3.3 ms here; decoding it takes several times as much.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
import weakref
from collections.abc import Sequence
from typing import Any

from vglamm.errors import EnvironmentProblem
from vglamm.media.forked import Forked

_PIPE_BYTES = 256 * 1024
_LOOK_SECONDS = 0.5
_WORDS_BYTES = 4096


class ChildStalled(Exception):
    """Nothing moved for ``patience`` seconds while this process waited."""


class ChildEnded(Exception):
    """The child answers no more. code: as of subprocess, a signal is negative; None if it lives. words: the last that it said."""

    def __init__(self, code: int | None, words: str) -> None:
        self.code, self.words = code, words
        super().__init__(code, words)


class ChildPipes:
    """A started child. patience: seconds that a call may wait without a byte moving; may be changed."""

    def __init__(self, module: str, arguments: Sequence[Any], patience: float) -> None:
        """Start ``main(*arguments)`` of a module in a process of its own. Raises EnvironmentProblem if that cannot be."""
        self.patience = patience
        self._owner = os.getpid()
        self._words = b""
        try:
            self._process = Forked(module, arguments)
        except OSError as error:
            raise EnvironmentProblem(
                f"no process to decode in ({error})", "room for one more", "run fewer at once, or raise the limits of the system"
            ) from error
        self._closed = False
        _alive.add(self)
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        for end in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(end, False)
        with contextlib.suppress(OSError):  # the system may have no more room for large pipes
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def usable(self) -> bool:
        """Whether it lives, has said nothing unasked, and is a child of this process (not of one that it was forked from)."""
        if os.getpid() != self._owner or self._process.poll() is not None:
            return False
        said = select.poll()
        said.register(self._stdout, select.POLLIN)
        return not said.poll(0)  # its end shows here before its exit code is known

    def send(self, data: bytes) -> None:
        """Write all of ``data``. Raises ChildStalled or ChildEnded."""
        view = memoryview(data)
        since = time.monotonic()
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                self._wait(self._stdin, select.POLLOUT, since)
            except BrokenPipeError as error:
                raise self._end() from error
            else:
                since = time.monotonic()

    def fill(self, view: memoryview) -> None:
        """Read as many bytes as ``view`` has. Raises ChildStalled or ChildEnded.

        Only the waiting in here counts, not the time since the last call.
        """
        since = time.monotonic()
        while view:
            try:
                count = os.readv(self._stdout, [view])
            except BlockingIOError:
                self._wait(self._stdout, select.POLLIN, since)
                continue
            if not count:
                raise self._end()
            view = view[count:]
            since = time.monotonic()

    def stop(self) -> None:
        """Kill the child, wait for its end and close the pipes. Does nothing the second time, or in a forked process."""
        if os.getpid() != self._owner:
            return
        self._process.kill()
        self._close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck inside the kernel: subprocess reaps it later
            self._process.wait(timeout=5)

    def forget(self) -> None:
        """In a forked process: let go of a child that is the parent's, so that it sees the end of the parent."""
        self._close()
        self._process.forget()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            for end in (self._stdin, self._stdout, self._stderr):
                os.close(end)

    def _wait(self, pipe: int, event: int, since: float) -> None:
        """Until ``pipe`` is ready, at most ``patience`` from ``since`` on. Keeps what the child says meanwhile."""
        poll = select.poll()
        poll.register(pipe, event)
        poll.register(self._stderr, select.POLLIN)
        while True:
            left = since + self.patience - time.monotonic()
            # The end of the pipe would tell, but a process forked in the wrong moment may hold it open.
            ended = self._process.poll() is not None
            ready = {number for number, _ in poll.poll(1000 * max(0.0, min(left, _LOOK_SECONDS)))}
            if self._stderr in ready and not self._listen():
                poll.unregister(self._stderr)
            if pipe in ready:
                return
            if ended:
                raise self._end()
            if left <= 0:
                raise ChildStalled

    def _listen(self) -> bool:
        """Keep the end of what the child says; False if there is no more for now."""
        try:
            said = os.read(self._stderr, 1 << 16)
        except BlockingIOError:
            return False
        self._words = (self._words + said)[-_WORDS_BYTES:]
        return bool(said)

    def _end(self) -> ChildEnded:
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
        while self._listen():
            pass
        return ChildEnded(code, self._words.decode(errors="replace").strip())


_alive: weakref.WeakSet[ChildPipes] = weakref.WeakSet()


def _forget_all() -> None:
    for child in list(_alive):
        child.forget()


os.register_at_fork(after_in_child=_forget_all)
