"""What a request brings: its fields, and a video that was uploaded with it, named inline or by an address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from serve.http.bodies import Model, parsed, validated
from serve.http.fetch import Fetcher
from serve.http.forms import Form
from serve.store.spool import PATTERNS, VIDEOS
from serve.store.videos import Videos
from vglamm.errors import RequestRefused

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.=+-]+)*?)(;base64)?,", re.ASCII)
_BLOCK, _QUOTED = 1024**2, 64 * 1024
FILE = "file"
"""The field of a form that holds a video."""


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The body of a route that reads it by :meth:`Intake.read`, for its OpenAPI description."""
    plain = model.model_json_schema()
    form = {**plain, "properties": {**plain["properties"], FILE: {"type": "string", "format": "binary"}}}
    content = {"application/json": {"schema": plain}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


@dataclass
class Brought:
    """video: the name of one that came with a request and that nobody knows yet: in a form, or named inline or by an address."""

    video: str | None = None


class Intake:
    """Takes videos in, however they come. Each is examined before it has a name that anybody learns."""

    def __init__(self, videos: Videos, fetcher: Fetcher) -> None:
        self.videos, self.fetcher = videos, fetcher
        self.taken = videos.settings.taken

    @asynccontextmanager
    async def read(self, request: Request, model: type[Model]) -> AsyncIterator[tuple[Model, Brought]]:
        """The request as ``model``, from JSON or from a form, and what it brought. What raises while they are in hand takes the
        video along: nobody was told its name."""
        kind, brought = request.headers.get("content-type", ""), Brought()
        try:
            if kind.startswith("multipart/form-data"):
                fields, brought.video = await self._form(request, kind)
                yield validated(fields, model), brought
            else:
                yield parsed(await request.body(), model), brought
        except (Exception, asyncio.CancelledError):
            if brought.video is not None:
                await asyncio.shield(self.videos.delete(brought.video))
            raise

    async def upload(self, request: Request) -> str:
        """The name of the video that is the body of a request: a form with a file, JSON, or the plain bytes."""
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            _, video = await self._form(request, kind)
            if video is None:
                raise RequestRefused("a form without a file", f"a field {FILE!r} with a video", "add it")
            return video
        return await self.videos.admit(request.stream())

    async def named(self, reference: str) -> tuple[str, bool]:
        """The name of the video that a request refers to, and whether it is new: an id, a data URL, or an address."""
        if re.match(PATTERNS[VIDEOS], reference):
            await self.videos.facts(reference)
            return reference, False
        if reference.startswith("data:"):
            return await self.videos.admit(_inline(reference)), True
        return await self.videos.admit(self.fetcher.stream(reference)), True

    async def _form(self, request: Request, kind: str) -> tuple[dict[str, Any], str | None]:
        form = Form(request.stream(), kind, self.taken.parts)
        fields: dict[str, Any] = {}
        video: str | None = None
        try:
            while (part := await form.part()) is not None:
                if not part.is_file:
                    if part.name in fields:
                        raise RequestRefused("a field that comes twice", "each once", "send one of them")
                    fields[part.name] = await form.text(self.taken.part)
                elif video is None:
                    video = await self.videos.admit(form.data())
                else:
                    raise RequestRefused("a form with several files", "one", "send one video")
        except (RequestRefused, ClientDisconnect):
            if video is not None:
                await self.videos.delete(video)
            raise
        return fields, video


async def _inline(url: str) -> AsyncIterator[bytes]:
    """The bytes of a data URL (RFC 2397)."""
    head = _DATA.match(url[:200])
    if head is None:
        raise RequestRefused("a data URL without a comma", "data:video/mp4;base64,...", "encode the video so")
    at = head.end()
    if head[3] is None:
        async for block in _unquoted(url, at):
            yield block
        return
    while at < len(url):
        piece, at = url[at : at + _BLOCK], at + _BLOCK  # a multiple of four characters, which are three bytes
        try:
            yield base64.b64decode(piece, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestRefused("a data URL that is not base64", "data:video/mp4;base64,...", "encode the video so") from error


async def _unquoted(url: str, at: int) -> AsyncIterator[bytes]:
    """What is percent-encoded from there on. This makes an object of each sign of a percentage: in blocks, and beside the loop."""
    while at < len(url):
        end = at + _QUOTED
        cut = url.rfind("%", end - 2, end)  # a %xx goes into the next block whole
        end = end if cut < 0 else cut
        yield await asyncio.to_thread(unquote_to_bytes, url[at:end])
        at = end
