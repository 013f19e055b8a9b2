"""Videos of the spool, opened once and kept open while they are asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from vglamm.media.guarded import GuardedSource, open_guarded
from vglamm.media.limits import Limits
from vglamm.places import join, local_copy


class _Open:
    """One video: its source, and how many use it now."""

    def __init__(self, uri: str, limits: Limits) -> None:
        self.users = 0
        self.lock = threading.Lock()
        self.stack = ExitStack()
        self.uri, self.limits = uri, limits
        self._source: GuardedSource | None = None

    @property
    def source(self) -> GuardedSource:
        with self.lock:  # two who want it at once open it once
            if self._source is None:
                path = self.stack.enter_context(local_copy(self.uri, self.limits))
                self._source = self.stack.enter_context(closing(open_guarded(path, self.limits)))
            return self._source


class Films:
    """spool: folder or address. kept: videos that stay open at most when nobody uses them, each with a decoding child that waits
    and, of a remote spool, a local copy. For any number of threads."""

    def __init__(self, spool: str, limits: Limits, kept: int = 8) -> None:
        self.spool, self.limits, self.kept = spool, limits, kept
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def opened(self, video: str) -> Iterator[GuardedSource]:
        """The video with this name. Raises VideoError."""
        with self._lock:
            entry = self._open.setdefault(video, _Open(join(self.spool, video), self.limits))
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
                if failed and self._open.get(video) is entry and not entry.users:
                    del self._open[video]
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
