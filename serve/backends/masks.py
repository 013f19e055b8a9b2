"""What pixel does for one question, from the moment it is asked: before there is a text, before it has ended, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from serve.backends.early import Declined, Early, Row
from serve.backends.failures import RAISED
from serve.backends.retry import Retry
from serve.backends.wire import Begun, Cue, Film, Grounding


@dataclass(frozen=True)
class Handles:
    """The deployments of the split layout."""

    decode: DeploymentHandle
    vision: DeploymentHandle
    language: DeploymentHandle
    pixel: DeploymentHandle

    def of(self, model: str) -> Handles:
        """The same for another model than the default one."""
        if not model:
            return self
        return Handles(*(handle.options(multiplexed_model_id=model) for handle in vars(self).values()))


class Masks:
    """Grounding frames are decoded at once, beside vision and language. Where few ask, a pixel replica that has nothing else to do
    makes features of the first of them, and tracks from each ``[SEG]`` on, in the hope that it was the last.

    alone: few ask. Both are helps: where many ask they would take the place of what is asked for; where one fails, the tracking
    tells why or does without.
    """

    def __init__(self, handles: Handles, retry: Retry, film: Film, mode: str, *, alone: bool) -> None:
        self.handles, self.retry, self.film, self.mode = handles, retry, film, mode
        self.first: DeploymentResponse = handles.decode.frames.remote(film, 0)
        self._ahead = asyncio.ensure_future(self._begun() if alone else _nothing())
        self._early = Early(self._guess)
        self._count = 0

    async def cue(self, cue: Cue, count: int) -> None:
        """Track these prompts through ``count`` frames if there is nothing better to do."""
        self._count = count
        await self._early.cue(cue.prompts)

    async def rows(self, prompts: NDArray[np.float32], count: int) -> AsyncGenerator[Row, None]:
        """Rows of a whole text's prompts: of what was begun before its end, if that was with all of them."""
        try:
            async with aclosing(self._early.rows(prompts)) as rows:
                async for row in rows:
                    yield row
        except Declined:
            await self._early.stop()
            begun = self._ahead.result() if self._ahead.done() else None
            task = Grounding(self.film, count, self.mode, prompts=prompts, begun=begun)
            async with aclosing(tracked(self.handles, self.retry, self.first, task)) as rows:
                async for row in rows:
                    yield row

    async def stop(self) -> None:
        """End what is at work, done or not."""
        await self._early.stop()
        self._ahead.cancel()
        self.first.cancel()

    async def _guess(self, prompts: NDArray[np.float32]) -> AsyncGenerator[Row, None]:
        begun = await asyncio.shield(self._ahead)
        if begun is None:
            raise Declined
        task = Grounding(self.film, self._count, self.mode, prompts=prompts, begun=begun, early=True)
        async with aclosing(tracked(self.handles, self.retry, self.first, task)) as rows:
            async for row in rows:
                yield row

    async def _begun(self) -> Begun | None:
        """What pixel has done of this video; None if it works for others."""
        begun = self.handles.pixel.begin.remote(self.first)
        try:
            found: Begun | None = await begun
        except RAISED:
            return None
        finally:
            begun.cancel()
        return found


async def _nothing() -> None:
    return None


async def tracked(handles: Handles, retry: Retry, first: DeploymentResponse | None, task: Grounding) -> AsyncGenerator[Row, None]:
    """Rows of pixel, none twice. first: the first window of frames if it was asked for."""

    async def make(again: bool) -> AsyncGenerator[Row, None]:
        options: dict[str, Any] = {"session_id": task.begun.replica} if task.begun and not again else {}
        stream = handles.pixel.options(stream=True, **options).ground.remote(None if again else first, task)
        try:
            async for rows in stream:
                for row in rows:
                    yield row
        finally:
            stream.cancel()

    known: set[int] = set()
    async with aclosing(retry.stream(make)) as rows:
        async for _, row in rows:
            if row[0] not in known:
                known.add(row[0])
                yield row
