"""Videos of the spool: let in once they are examined, known by an id, given out again in ranges, gone when nobody uses them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, TypeVar

from serve.contract import Backend
from serve.settings import Settings
from serve.store.spool import VIDEOS, Spool
from vglamm.errors import NotKept, VglammError
from vglamm.media.sniff import HEAD, image_format, indexed_container

log = logging.getLogger(__name__)
Item = TypeVar("Item")

_BLOCK = 256 * 1024
_TOUCH = 60.0
TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "mov": "video/mp4",
    "matroska": "video/webm",
}
PLAIN = "application/octet-stream"


class Videos:
    """All calls are coroutines; files are touched in threads."""

    def __init__(self, backend: Backend, spool: Spool, settings: Settings) -> None:
        self.backend, self.spool, self.settings = backend, spool, settings
        self._touched: dict[str, float] = {}

    async def admit(self, chunks: AsyncIterator[bytes]) -> str:
        """Keep a video and examine it; its name. VideoError for one that cannot be used, which is then not kept."""
        name = await self.spool.receive(chunks, self.settings.taken.media.bytes)
        try:
            facts = await self.backend.probe(path_of(name))
            head = await asyncio.to_thread(self._head, name)
            size = await asyncio.to_thread(self.spool.video(name).size)
        except (VglammError, asyncio.CancelledError):
            await asyncio.shield(self.delete(name))
            raise
        await asyncio.to_thread(self.spool.write, VIDEOS, name, {**asdict(facts), "bytes": size, "type": media_type(head)})
        return name

    async def facts(self, name: str) -> dict[str, Any]:
        """What is known of a video, which counts as using it. NotKept if there is none."""
        record = await asyncio.to_thread(self.spool.read, VIDEOS, name)
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH) >= _TOUCH:
            await asyncio.to_thread(self.spool.write, VIDEOS, name, record)
            self._touched[name] = now
        return record

    async def used(self, name: str, items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
        """The items. While they come the video counts as used, or an answer that takes longer than it is kept would lose it."""
        noted = time.monotonic()
        async with aclosing(items) as coming:
            async for item in coming:
                if time.monotonic() - noted >= _TOUCH:
                    noted = time.monotonic()
                    with contextlib.suppress(NotKept, OSError):  # deleted meanwhile, or the spool: the answer may come all the same
                        await self.facts(name)
                yield item

    def told(self, name: str, record: dict[str, Any]) -> dict[str, Any]:
        """What a client hears of a video."""
        known = {key: record[key] for key in ("seconds", "frames", "size", "fps", "is_image")}
        return {"video": name, **known, "expires_in_s": self.settings.kept.seconds}

    async def bytes(self, name: str, first: int, last: int) -> AsyncIterator[bytes]:
        """Bytes ``first`` to ``last`` of a video."""
        place = self.spool.video(name)
        file = await asyncio.to_thread(place.system.open_input_file, place.path)
        try:
            await asyncio.to_thread(file.seek, first)
            left = last + 1 - first
            while left > 0 and (block := await asyncio.to_thread(file.read, min(left, _BLOCK))):
                left -= len(block)
                yield block
        finally:
            await asyncio.to_thread(file.close)

    async def delete(self, name: str) -> None:
        self._touched.pop(name, None)
        await asyncio.to_thread(self.spool.delete, VIDEOS, name)

    async def expire(self) -> None:
        """Drop what nobody has used for ``kept.seconds``."""
        before = time.time() - self.settings.kept.seconds
        for at, name in await asyncio.to_thread(self.spool.names, VIDEOS):
            if at < before:
                log.info("%s expired", name)
                await self.delete(name)
        await asyncio.to_thread(self.spool.clear, before)

    def _head(self, name: str) -> bytes:
        place = self.spool.video(name)
        with place.system.open_input_stream(place.path) as file:
            return bytes(file.read(HEAD))


def path_of(name: str) -> str:
    """The name of a video as a backend knows it: its path in the spool."""
    return f"{VIDEOS}/{name}"


def media_type(head: bytes) -> str:
    """What a player may be told of a file's first bytes; anything unknown is only bytes."""
    return TYPES.get(image_format(head) or indexed_container(head) or "", PLAIN)
