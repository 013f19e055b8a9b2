"""Streams that end with their client: whoever leaves stops the work within one frame or token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Item = TypeVar("Item")
ALIVE = b": waiting\n\n"
"""A comment in a stream of events, so that nobody between takes a long silence for the end."""
_SILENCE = 10.0


class ClientLeft(Exception):
    """Nobody is there any more to answer."""


async def attended(items: AsyncGenerator[Item, None], receive: Receive) -> AsyncGenerator[Item, None]:
    """The items while the client is there; when it leaves, ``items`` is closed and ClientLeft raised."""
    async with aclosing(until(items, asyncio.ensure_future(_gone(receive)), ClientLeft())) as attending:
        async for item in attending:
            yield item


async def until(items: AsyncGenerator[Item, None], end: asyncio.Future[Any], error: Exception) -> AsyncGenerator[Item, None]:
    """The items; when ``end`` is done before them, ``items`` is closed and the error raised. ``end`` is cancelled afterwards."""
    try:
        while True:
            step = asyncio.ensure_future(_next(items))
            try:
                await asyncio.wait({step, end}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not step.done():
                    step.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await step
            if step.cancelled():
                raise error
            item = step.result()
            if item is _END:
                return
            yield item  # type: ignore[misc]
    finally:
        end.cancel()
        await items.aclose()


_END = object()


async def _next(items: AsyncGenerator[Item, None]) -> object:
    """A coroutine for a task; StopAsyncIteration cannot leave one."""
    return await anext(items, _END)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events from a generator of their bytes, which is closed when the client leaves or has all of it."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"}, media_type=self.media_type)
        del self.headers["content-length"]
        self.chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        beats = beating(self.chunks)
        try:
            async for chunk in beats:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except ClientLeft:
            return
        finally:
            await beats.aclose()
            await self.chunks.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def beating(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The chunks, and :data:`ALIVE` whenever none comes for a while."""
    step: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(chunks, None))  # type: ignore[arg-type]
            while not (await asyncio.wait({step}, timeout=_SILENCE))[0]:
                yield ALIVE
            chunk = step.result()
            if chunk is None:
                return
            yield chunk
    finally:
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait({step})
