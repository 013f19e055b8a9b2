"""Health, models, and the gallery of clips to try."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Annotated, Any

from fastapi import FastAPI, Path, Response

from serve.http import gallery
from serve.http.desk import Desk
from serve.routes.videos import FAILURES
from serve.schema import Health, Models
from vglamm.errors import NotKept

_FRESH = 1.0
"""Seconds that a look at the parts is good for: who asks for it needs no token."""


def add(app: FastAPI, desk: Desk) -> None:
    looked, well = -math.inf, False

    @app.get("/healthz", response_model=Health)
    async def healthy() -> Any:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", response_model=Health, responses={503: {"model": Health}})
    async def ready(response: Response) -> Any:
        """A question would be answered now."""
        nonlocal looked, well
        if time.monotonic() - looked >= _FRESH:
            looked, well = time.monotonic(), await desk.backend.ready()
        if well:
            return {"status": "ok"}
        response.status_code = 503
        response.headers["Retry-After"] = "1"
        return {"status": "waiting"}

    @app.get("/v1/models", responses=FAILURES, response_model=Models)
    async def models() -> Any:
        """The models that are served, the default one first."""
        return {"data": [{"id": name} for name in await desk.backend.models()]}

    @app.get("/v1/gallery", responses=FAILURES)
    async def clips() -> dict[str, Any]:
        """Clips to try, with questions that fit them."""
        return await asyncio.to_thread(gallery.listing)

    @app.get("/v1/gallery/{name}.mp4", responses=FAILURES, response_class=Response)
    async def clip(name: Annotated[str, Path(pattern="^[a-z0-9-]{1,40}$")]) -> Response:
        """The bytes of a clip of the gallery."""
        content = await asyncio.to_thread(gallery.content, name)
        if content is None:
            raise NotKept("no such clip", "one of /v1/gallery", "look there")
        return Response(content, media_type="video/mp4", headers={"Cache-Control": "private, max-age=3600"})
