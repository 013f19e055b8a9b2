"""``/v1/videos``: bytes in, examined; bytes out, in ranges."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from starlette.responses import StreamingResponse

from serve.http.bodies import parsed
from serve.http.desk import Desk
from serve.http.uploads import FILE
from serve.schema import Failure, Video, VideoRequest
from serve.store.spool import PATTERNS, VIDEOS

Name = Annotated[str, Path(pattern=PATTERNS[VIDEOS])]
FAILURES: dict[int | str, dict[str, Any]] = {"4XX": {"model": Failure}, "5XX": {"model": Failure}}
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "video/mp4": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {"schema": {"type": "object", "required": [FILE], "properties": {FILE: _BINARY}}},
            "application/json": {"schema": VideoRequest.model_json_schema()},
        },
    }
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def add(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/videos", status_code=201, openapi_extra=_BODY, responses=FAILURES, response_model=Video)
    async def upload(request: Request) -> Any:
        """Keep a video or image to ask about: a form with a file, plain bytes, or JSON with a data URL or an allowed address."""
        if "json" in request.headers.get("content-type", ""):
            name, _ = await desk.intake.named(parsed(await request.body(), VideoRequest).video)
        else:
            name = await desk.intake.upload(request)
        return desk.videos.told(name, await desk.videos.facts(name))

    @app.get("/v1/videos/{video}", responses=FAILURES, response_class=Response)
    async def content(video: Name, request: Request) -> Response:
        """The bytes of a video, for a player."""
        record = await desk.videos.facts(video)
        size = record["bytes"]
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600", "Content-Length": str(size)}
        asked = request.headers.get("range")
        span = (0, size - 1) if asked is None else span_of(asked, size)
        if span is None:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        first, last = span
        if asked is not None:
            headers |= {"Content-Range": f"bytes {first}-{last}/{size}", "Content-Length": str(last + 1 - first)}
        return StreamingResponse(
            desk.videos.bytes(video, first, last), 200 if asked is None else 206, headers, media_type=record["type"]
        )

    @app.delete("/v1/videos/{video}", status_code=204, responses=FAILURES)
    async def delete(video: Name) -> None:
        """Drop a video; sessions about it are gone with it."""
        await desk.videos.facts(video)
        await desk.videos.delete(video)


def span_of(asked: str, size: int) -> tuple[int, int] | None:
    """(first, last) of a Range header, inclusive; the whole for one of several ranges or another unit, None for one outside."""
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match.groups() == ("", ""):
        return 0, size - 1
    first, last = match.groups()
    if not first:  # the last bytes
        return (max(0, size - int(last)), size - 1) if int(last) else None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end) if int(first) <= end else None
