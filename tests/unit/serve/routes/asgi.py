"""An ASGI client that can misbehave: bodies without end, silence, reading nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Exchange:
    """What came of a request. taken: bytes of its body that the application asked for."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    taken: int = 0


def headers_of(**named: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "testserver", **named}.items()]


async def talk(
    app: Any, method: str, path: str, chunks: AsyncIterator[bytes], headers: Iterable[tuple[bytes, bytes]], *, reads: bool = True
) -> Exchange:
    """One request. reads: False is a client that takes nothing of the response but its head."""
    told = Exchange()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": ("10.0.0.9", 1),
        "server": ("testserver", 80),
    }
    over = False

    async def receive() -> dict[str, Any]:
        nonlocal over
        if over:
            await asyncio.Event().wait()
        chunk = await anext(chunks, None)
        over = chunk is None
        told.taken += len(chunk or b"")
        return {"type": "http.request", "body": chunk or b"", "more_body": not over}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            told.status = message["status"]
            told.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif reads:
            told.body += message.get("body", b"")
        else:
            await asyncio.Event().wait()

    await app(scope, receive, send)
    return told


async def of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def endless(chunk: bytes) -> AsyncIterator[bytes]:
    while True:
        yield chunk


async def dribbling(seconds: float) -> AsyncIterator[bytes]:
    """A byte now and then: the client is slow, nothing is waited for."""
    while True:
        await asyncio.sleep(seconds)
        yield b"x"


async def silent() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""
