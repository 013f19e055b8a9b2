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
from typing import IO

from vglamm.errors import EnvironmentProblem

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

    def __init__(self, command: Sequence[str], environment: dict[str, str], patience: float) -> None:
        """Start ``command`` with ``environment`` added to that of this process. Raises EnvironmentProblem if that cannot be."""
        self.patience = patience
        self._owner = os.getpid()
        self._words = b""
        pipe = subprocess.PIPE
        try:
            # `env` becomes the command: no process more
            settings = ("env", *(f"{name}={value}" for name, value in environment.items()))
            self._process = subprocess.Popen([*settings, *command], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        except OSError as error:
            raise EnvironmentProblem(
                f"no process to decode in ({error})", "room for one more", "run fewer at once, or raise the limits of the system"
            ) from error
        _alive.add(self)
        self._stdin, self._stdout, self._stderr = self._pipes()
        for end in self._pipes():
            os.set_blocking(end.fileno(), False)
        with contextlib.suppress(OSError):  # the system may have no more room for large pipes
            fcntl.fcntl(self._stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def usable(self) -> bool:
        """Whether it lives and is a child of this process (not of one that this process was forked from)."""
        return os.getpid() == self._owner and self._process.poll() is None

    def send(self, data: bytes) -> None:
        """Write all of ``data``. Raises ChildStalled or ChildEnded."""
        view = memoryview(data)
        since = time.monotonic()
        while view:
            try:
                view = view[os.write(self._stdin.fileno(), view) :]
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
                count = os.readv(self._stdout.fileno(), [view])
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
        self._process.returncode = 0

    def _close(self) -> None:
        for end in self._pipes():
            end.close()

    def _pipes(self) -> list[IO[bytes]]:
        return [end for end in (self._process.stdin, self._process.stdout, self._process.stderr) if end is not None]

    def _wait(self, pipe: IO[bytes], event: int, since: float) -> None:
        """Until ``pipe`` is ready, at most ``patience`` from ``since`` on. Keeps what the child says meanwhile."""
        poll = select.poll()
        poll.register(pipe, event)
        poll.register(self._stderr, select.POLLIN)
        while True:
            left = since + self.patience - time.monotonic()
            # The end of the pipe would tell, but a process forked in the wrong moment may hold it open.
            ended = self._process.poll() is not None
            ready = {number for number, _ in poll.poll(1000 * max(0.0, min(left, _LOOK_SECONDS)))}
            if self._stderr.fileno() in ready and not self._listen():
                poll.unregister(self._stderr)
            if pipe.fileno() in ready:
                return
            if ended:
                raise self._end()
            if left <= 0:
                raise ChildStalled

    def _listen(self) -> bool:
        """Keep the end of what the child says; False if there is no more for now."""
        try:
            said = os.read(self._stderr.fileno(), 1 << 16)
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
