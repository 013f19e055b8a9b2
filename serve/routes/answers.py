"""``POST /v1/answers``: a question about a video."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request, Response

from serve.attend import EventStream, attended
from serve.events import Turned, told_in_stream
from serve.http.desk import Desk
from serve.http.uploads import body_of
from serve.schema import Answered, Failure, Question

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"model": Answered, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    "4XX": {"model": Failure},
    "5XX": {"model": Failure},
}


def add(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/answers", openapi_extra=body_of(Question), responses=STREAM)
    async def ask(request: Request) -> Response:
        """Ask a question; with ``session``, a further one about the same video."""
        async with desk.intake.read(request, Question) as (question, brought):
            session, asked, video = await desk.asked(question, brought, request)
            events = desk.sessions.ask(session, replace(asked, live=question.stream), video, question.alone)
            if brought.video is not None:
                events = then_deleted(desk, events, video, kept=question.keep)
            return await answered(events, request, question.stream)


async def answered(events: Any, request: Request, stream: bool) -> Response:
    """The response of a turn: its events as they come, or its end. What fails before the first event has its own status."""
    attending = attended(events, request.receive)
    if not stream:
        async with aclosing(attending):
            async for event in attending:
                if isinstance(event, Turned):
                    return Response(event.json(), media_type="application/json")
        raise AssertionError("a turn ends with a Turned")
    first = await anext(attending)

    async def whole() -> Any:
        async with aclosing(attending):
            yield first
            async for event in attending:
                yield event

    return EventStream(told_in_stream(whole(), request.state.request_id))


async def then_deleted(desk: Desk, events: Any, video: str, *, kept: bool = False) -> Any:
    """The events of a question that brought its video, which goes with their end. kept: not if that is an answer, which tells its
    name."""
    told = False
    try:
        async with aclosing(events):
            async for event in events:
                told = told or isinstance(event, Turned)
                yield event
    finally:
        if not (kept and told):
            await desk.videos.delete(video)
