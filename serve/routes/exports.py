"""Files of an answered turn, to keep."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Request, Response

from serve.attend import attended
from serve.http.desk import Desk
from serve.routes.sessions import Name
from serve.routes.videos import FAILURES
from serve.schema import ExportRequest
from serve.store.exports import FILES, TYPES, Exports

Turn = Annotated[int, Path(ge=0, le=10_000)]
File = Literal["answer.json", "coco.json", "overlay.mp4", "overlay.png"]


def add(app: FastAPI, desk: Desk) -> None:
    exports = Exports(desk.spool, desk.settings)

    @app.get("/v1/sessions/{session}/turns/{turn}/{file}", tags=["exports"], responses=FAILURES, response_class=Response)
    async def file(session: Name, turn: Turn, file: File, request: Request) -> Response:
        """The answer of a turn as JSON or COCO, or its masks on the video."""
        return await made(session, turn, file, request)

    @app.post("/v1/exports", tags=["exports"], responses=FAILURES, response_class=Response)
    async def export(wanted: ExportRequest, request: Request) -> Response:
        """The same, as a form asks for it."""
        return await made(wanted.session, wanted.turn, FILES[wanted.format], request)

    async def made(name: str, turn: int, file: str, request: Request) -> Response:
        session = await desk.sessions.load(name)
        answer = await desk.sessions.answer(session, turn)

        async def contents() -> AsyncGenerator[bytes, None]:
            yield await exports.make(answer, session.video, file)

        async with aclosing(attended(contents(), request.receive)) as attending:
            content = await anext(attending)
        return Response(content, media_type=TYPES[file], headers={"Content-Disposition": f'attachment; filename="{file}"'})
