"""The page and its files, as :mod:`serve.web` has them."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Response

from serve import web
from vglamm.errors import NotKept

_HEADERS = {"Content-Security-Policy": web.POLICY, "Cache-Control": "no-cache"}


def add(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file(web.PAGE)

    @app.get("/web/{name}", include_in_schema=False)
    async def file(name: Annotated[str, Path(max_length=80)]) -> Response:
        return _file(name)


def _file(name: str) -> Response:
    asset = web.asset(name)
    if asset is None:
        raise NotKept("no such file of the page", "one that the page names", "open /")
    return Response(asset.content, media_type=asset.kind, headers=_HEADERS)
