"""Who works on a thing of the spool: one replica at a time, until it says no more.

A lease is a record with a holder and a time; it is taken where none is or where its time is over, and renewed while the work goes
on. In a folder exactly one gets it. An object store has no such step: there two may work on the same thing until one renews; what
they write is the same. Clocks of replicas may differ by a fraction of its length.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from uuid import uuid4

from serve.attend import until
from serve.store.spool import Spool
from vglamm.errors import InUse

Item = TypeVar("Item")
PART = "lease"
_SETTLE = 0.5


class Lease:
    """On one record of the spool. seconds: after which a silent holder counts as dead."""

    def __init__(self, spool: Spool, kind: str, name: str, seconds: float) -> None:
        self.spool, self.kind, self.name, self.seconds = spool, kind, name, seconds
        self.holder = uuid4().hex

    def free(self) -> bool:
        """Whether nobody who lives holds it."""
        found = self.spool.find(self.kind, self.name, PART)
        return found is None or found["holder"] == self.holder or found["until"] < time.time()

    def take(self) -> bool:
        """Whether it is this holder's now."""
        mine = {"holder": self.holder, "until": time.time() + self.seconds}
        with self.spool.exclusive() as exact:
            found = self.spool.find(self.kind, self.name, PART)
            own = found is not None and found["holder"] == self.holder
            if not own and found is not None and found["until"] >= time.time():
                return False
            self.spool.write(self.kind, self.name, mine, PART)
        if own or exact:
            return True
        time.sleep(_SETTLE)  # who wrote last has it
        return self.spool.find(self.kind, self.name, PART) == mine

    def renew(self) -> bool:
        """Whether it is still this holder's, and has its whole time before it again. A lease that is gone was another's meanwhile,
        or what it is on was deleted."""
        with self.spool.exclusive():
            found = self.spool.find(self.kind, self.name, PART)
            if found is None or found["holder"] != self.holder:
                return False
            self.spool.write(self.kind, self.name, {"holder": self.holder, "until": time.time() + self.seconds}, PART)
            return True

    def drop(self) -> None:
        with self.spool.exclusive():
            found = self.spool.find(self.kind, self.name, PART)
            if found is not None and found["holder"] == self.holder:
                self.spool.delete_part(self.kind, self.name, PART)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Event]:
        """Taken and renewed while inside; the event is set when it is lost. InUse if somebody else holds it."""
        if not await asyncio.to_thread(self.take):
            raise self._elsewhere("which is at work")
        lost = asyncio.Event()
        renewing = asyncio.create_task(self._renew(lost))
        try:
            yield lost
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            await asyncio.shield(asyncio.to_thread(self.drop))

    async def keeping(self, items: AsyncGenerator[Item, None], lost: asyncio.Event) -> AsyncGenerator[Item, None]:
        """The items while it is held; InUse once it is lost."""
        losing = asyncio.ensure_future(lost.wait())
        async with aclosing(until(items, losing, self._elsewhere("which another took over or ended"))) as kept:
            async for item in kept:
                yield item

    async def check(self) -> None:
        """Before what only its holder may write; InUse if that is another one by now."""
        if not await asyncio.to_thread(self.renew):
            raise self._elsewhere("which another took over or ended")

    def _elsewhere(self, why: str) -> InUse:
        return InUse(f"{self.kind[:-1]} {self.name}, {why}", "one request about it at a time", "ask again", 1.0)

    async def _renew(self, lost: asyncio.Event) -> None:
        while not lost.is_set():
            await asyncio.sleep(self.seconds / 3)
            if not await asyncio.to_thread(self.renew):
                lost.set()
