"""Who of those that wait is next at a device."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Turns:
    """Lets work in while there is room, the least rank first. room: amount of work inside at most; work that is more than that goes
    in alone. For one event loop."""

    def __init__(self, room: float) -> None:
        self.room, self.inside = room, 0.0
        self._waiting: list[tuple[float, int, float, asyncio.Future[None]]] = []
        self._numbers = count()

    @asynccontextmanager
    async def turn(self, amount: float, rank: float) -> AsyncIterator[None]:
        """Inside, it is so much work's turn. Of equal ranks, who came first is first."""
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), amount, come))
        self._let_in()
        try:
            await come
            yield
        finally:
            if come.done() and not come.cancelled():
                self.inside -= amount
                self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            _, _, amount, come = self._waiting[0]
            if not come.done():  # else its client has left
                if self.inside and self.inside + amount > self.room:
                    return
                self.inside += amount
                come.set_result(None)
            heapq.heappop(self._waiting)
