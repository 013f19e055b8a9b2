"""What sessions keep between questions: bounded in number, in bytes and in time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Bounds:
    """sessions: how many are kept at most. bytes: of all of them together. seconds: since one was last used."""

    sessions: int = 64
    bytes: int = 1024**3
    seconds: float = 1800.0


class Kept(Generic[Value]):
    """Values by session, the least recently used dropped first. Whoever asks for one that was dropped makes it again. ``clock``
    gives seconds."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds, self.clock = bounds, clock
        self._held: OrderedDict[str, tuple[Value, int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def names(self) -> tuple[str, ...]:
        """The sessions."""
        return tuple(self._held)

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self._held.values())

    def get(self, session: str | None) -> Value | None:
        self.expire()
        if session is None or session not in self._held:
            return None
        value, size, _ = self._held.pop(session)
        self._held[session] = value, size, self.clock()
        return value

    def put(self, session: str | None, value: Value, size: int) -> None:
        """size: in bytes. A value that is larger than all that may be kept is not kept."""
        if session is None:
            return
        self._held.pop(session, None)
        self._held[session] = value, size, self.clock()
        self.expire()
        while len(self) > self.bounds.sessions or self.bytes > self.bounds.bytes:
            self._held.popitem(last=False)

    def drop(self, session: str) -> None:
        self._held.pop(session, None)

    def expire(self) -> None:
        """Drop what was not used for too long. Every call above does so; where none comes, somebody must."""
        before = self.clock() - self.bounds.seconds
        while self._held and next(iter(self._held.values()))[2] < before:
            self._held.popitem(last=False)
