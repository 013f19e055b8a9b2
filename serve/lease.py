"""Who works on a thing of the spool: one replica at a time, until it says no more.

A lease is a record with a holder and a time; it is taken where none is or where its time is over, and renewed while the work goes
on. In a folder exactly one gets it. An object store has no such step: there two may work on the same thing until one renews; what
they write is the same. Clocks of replicas may differ by a fraction of its length.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from serve.spool import Spool
from vglamm.errors import InUse

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

    def drop(self) -> None:
        with self.spool.exclusive():
            found = self.spool.find(self.kind, self.name, PART)
            if found is not None and found["holder"] == self.holder:
                self.spool.delete_part(self.kind, self.name, PART)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Event]:
        """Taken and renewed while inside; the event is set when it is lost. InUse if somebody else holds it."""
        if not await asyncio.to_thread(self.take):
            raise InUse(f"{self.kind[:-1]} {self.name}, which is at work", "one request about it at a time", "ask again", 1.0)
        lost = asyncio.Event()
        renewing = asyncio.create_task(self._renew(lost))
        try:
            yield lost
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            await asyncio.shield(asyncio.to_thread(self.drop))

    async def _renew(self, lost: asyncio.Event) -> None:
        while not lost.is_set():
            await asyncio.sleep(self.seconds / 3)
            if not await asyncio.to_thread(self.take):
                lost.set()
