"""Tracking that begins when a ``[SEG]`` falls, before the text is at its end.

The last phrase of an answer is followed by a few tokens that change nothing any more, but nobody knows that it was the last. So
tracking begins with the prompts so far; another phrase begins it anew, since all objects of a video are tracked together; and when
the text has ended, the masks are on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from serve.failures import RAISED
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
        self._prompts: Prompts | None = None
        self._came: asyncio.Queue[Row | BaseException | None] = asyncio.Queue(ROWS)
        self._task: asyncio.Task[None] | None = None

    async def cue(self, prompts: Prompts) -> None:
        """Begin with these prompts, instead of what was begun before."""
        await self.stop()
        self._prompts, self._came = prompts, asyncio.Queue(ROWS)
        self._task = asyncio.create_task(self._collect(self._begin(prompts), self._came))

    async def rows(self, prompts: Prompts) -> AsyncGenerator[Row, None]:
        """The rows of these prompts. Raises Declined before the first if no such tracking was begun, else what tracking raises."""
        if self._prompts is None or not np.array_equal(self._prompts, prompts):
            raise Declined
        while (row := await self._came.get()) is not None:
            if isinstance(row, BaseException):
                raise row
            yield row

    async def stop(self) -> None:
        """End what is at work. Nothing happens the second time."""
        task, self._task, self._prompts = self._task, None, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @staticmethod
    async def _collect(rows: AsyncGenerator[Row, None], came: asyncio.Queue[Row | BaseException | None]) -> None:
        try:
            async with aclosing(rows):
                async for row in rows:
                    await came.put(row)
        except (Declined, *RAISED) as error:
            await came.put(error)
        else:
            await came.put(None)
