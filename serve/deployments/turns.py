"""Who of those that wait is next at a device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count


@dataclass(order=True)
class _Waiting:
    rank: float
    number: int
    amount: float = field(compare=False)
    kind: Hashable = field(compare=False)
    come: asyncio.Future[None] = field(compare=False)


class Turns:
    """When nobody is inside, lets in the least rank, and with it those of its kind while there is room. room: amount of work inside
    at most; work that is more than that goes in alone. Who comes out and wants in again without waiting for anything in between is
    among those of whom the next are chosen. For one event loop."""

    def __init__(self, room: float) -> None:
        self.room, self.inside = room, 0.0
        self._waiting: list[_Waiting] = []
        self._numbers = count()

    @asynccontextmanager
    async def turn(self, amount: float, rank: float, kind: Hashable) -> AsyncIterator[None]:
        """Inside, it is so much work's turn. Of equal ranks, who came first is first. kind: what goes well together."""
        loop = asyncio.get_running_loop()
        one = _Waiting(rank, next(self._numbers), amount, kind, loop.create_future())
        self._waiting.append(one)
        loop.call_soon(self._let_in)
        try:
            await one.come
            yield
        finally:
            if one.come.done() and not one.come.cancelled():
                self.inside -= amount
                loop.call_soon(self._let_in)

    def _let_in(self) -> None:
        self._waiting = [one for one in self._waiting if not one.come.done()]  # else its client has left
        if self.inside or not self._waiting:
            return
        first = min(self._waiting)
        for one in sorted(one for one in self._waiting if one.kind == first.kind):
            if self.inside and self.inside + one.amount > self.room:
                return
            self.inside += one.amount
            one.come.set_result(None)
