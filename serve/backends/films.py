"""Videos of the spool, opened once and kept open while they are asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from vglamm.media.guarded import GuardedSource, open_guarded
from vglamm.media.limits import Limits
from vglamm.places import join, local_copy

TOGETHER = 2
"""Requests that one question makes at the same time: what language is to see, and what pixel is."""


class _Open:
    """One video: its source, and how many use it now."""

    def __init__(self, uri: str, limits: Limits, together: int) -> None:
        self.users, self.together = 0, together
        self.lock = threading.Lock()
        self.stack = ExitStack()
        self.uri, self.limits = uri, limits
        self._source: GuardedSource | None = None

    @property
    def source(self) -> GuardedSource:
        with self.lock:  # two who want it at once open it once
            if self._source is None:
                path = self.stack.enter_context(local_copy(self.uri, self.limits))
                self._source = self.stack.enter_context(closing(open_guarded(path, self.limits, waiting=self.together)))
            return self._source

    def rest(self) -> None:
        """Nobody uses it now: keep as many children as one question needs."""
        source = self._source
        if source is not None:
            source.close(TOGETHER)


class Films:
    """spool: folder or address. kept: videos that stay open at most when nobody uses them, each with decoding children that wait
    and, of a remote spool, a local copy. together: requests at the same time, so that children of a video in use are not started
    for each. For any number of threads."""

    def __init__(self, spool: str, limits: Limits, kept: int = 8, together: int = TOGETHER) -> None:
        self.spool, self.limits, self.kept, self.together = spool, limits, kept, together
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def opened(self, video: str) -> Iterator[GuardedSource]:
        """The video with this name. Raises VideoError."""
        with self._lock:
            entry = self._open.setdefault(video, _Open(join(self.spool, video), self.limits, self.together))
            self._open.move_to_end(video)
            entry.users += 1
        failed = True
        try:
            source = entry.source
            failed = False
            yield source
        finally:
            with self._lock:
                entry.users -= 1
                idle = not entry.users
                if failed and self._open.get(video) is entry and not entry.users:
                    del self._open[video]
            if idle:
                entry.rest()
            self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle = [name for name, entry in self._open.items() if not entry.users]
            gone = [self._open.pop(name) for name in idle[: max(len(self._open) - self.kept, 0)]]
        for entry in gone:
            entry.stack.close()

    def close(self) -> None:
        with self._lock:
            gone = list(self._open.values())
            self._open.clear()
        for entry in gone:
            entry.stack.close()
