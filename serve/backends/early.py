"""Tracking that begins when a ``[SEG]`` falls, before the text is at its end.

The last phrase of an answer is followed by a few tokens that change nothing any more, but nobody knows that it was the last. So
tracking begins with the prompts so far; another phrase begins it anew, since all objects of a video are tracked together; and when
the text has ended, the masks are on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from vglamm.records import Sight

Row = tuple[int, list[Sight]]
Prompts = NDArray[np.float32]
ROWS = 64
"""Rows that may wait for the end of the text."""


class Declined(Exception):
    """Pixel has other work: nothing was begun."""


class Early:
    """At most one tracking of one answer. begin: prompts float[S, C] -> rows; raises Declined before the first for none."""

    def __init__(self, begin: Callable[[Prompts], AsyncGenerator[Row, None]]) -> None:
        self._begin = begin
        self._at_work: _Collecting | None = None

    async def cue(self, prompts: Prompts) -> None:
        """Begin with these prompts, instead of what was begun before."""
        await self.stop()
        self._at_work = _Collecting(prompts, self._begin(prompts))

    async def rows(self, prompts: Prompts) -> AsyncGenerator[Row, None]:
        """The rows of these prompts. Raises Declined before the first if no such tracking was begun, else what tracking raises."""
        at_work = self._at_work
        if at_work is None or not np.array_equal(at_work.prompts, prompts):
            raise Declined
        async with aclosing(at_work.rows()) as rows:
            async for row in rows:
                yield row

    async def stop(self) -> None:
        """End what is at work. Nothing happens the second time."""
        at_work, self._at_work = self._at_work, None
        if at_work is not None:
            await at_work.stop()


class _Collecting:
    """A task that takes rows until :data:`ROWS` wait. Its end comes behind the last row, however it ends: by a bug too."""

    def __init__(self, prompts: Prompts, rows: AsyncGenerator[Row, None]) -> None:
        self.prompts = prompts
        self._came: asyncio.Queue[Row | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(ROWS)
        self._task = asyncio.create_task(self._collect(rows))
        self._task.add_done_callback(lambda _: self._came.put_nowait(None))

    async def rows(self) -> AsyncGenerator[Row, None]:
        while (row := await self._came.get()) is not None:
            self._room.release()
            yield row
        await self._task  # it has ended: this raises what it ended with

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)  # who reads is told what it ended with

    async def _collect(self, rows: AsyncGenerator[Row, None]) -> None:
        async with aclosing(rows):
            async for row in rows:
                await self._room.acquire()
                self._came.put_nowait(row)
