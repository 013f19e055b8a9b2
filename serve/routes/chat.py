"""``POST /v1/chat/completions``: the OpenAI chat API, for clients that know that one."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request, Response

from serve.attend import ClientLeft, EventStream, attended
from serve.contract import Ask, Text
from serve.errors import INTERNAL, told
from serve.events import Turned, Wired
from serve.http.chat_schema import ChatRequest, dialogue
from serve.http.chat_wire import Completion
from serve.http.desk import SOURCE, Desk
from serve.routes.answers import then_deleted
from serve.routes.videos import FAILURES
from serve.store.videos import path_of
from vglamm.errors import VglammError

log = logging.getLogger(__name__)


def add(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/chat/completions", tags=["chat"], responses=FAILURES, response_class=Response)
    async def complete(wanted: ChatRequest, request: Request) -> Response:
        """A talk about one video or image, in a part ``image_url`` or ``video_url`` with a data URL, an id of POST /v1/videos, or
        an allowed address. Phrases and tracks are in the field ``vglamm``."""
        talk = dialogue(wanted.messages)
        desk.check_question(talk.question)
        desk.check_history(talk.history)
        video, came = await desk.intake.named(talk.video)
        request_id = request.state.request_id
        ask = Ask(
            path_of(video),
            talk.question,
            wanted.watching,
            wanted.writing,
            history=talk.history,
            model=wanted.model,
            source=SOURCE,
            request_id=request_id,
            live=wanted.stream,
        )
        events = desk.sessions.ask(None, ask, video)
        if came:
            events = then_deleted(desk, events, video)
        usage = wanted.stream_options is not None and wanted.stream_options.include_usage
        completion = Completion(request_id, wanted.model, talk.warnings + wanted.warnings, usage)
        attending = attended(events, request.receive)
        if wanted.stream:
            first = await anext(attending)
            return EventStream(_chunks(completion, first, attending))
        async with aclosing(attending):
            async for event in attending:
                if isinstance(event, Turned):
                    return Response(json.dumps(completion.whole(event)), media_type="application/json")
                if isinstance(event, Text):
                    completion.written.add(event.piece)
        raise AssertionError("a turn ends with a Turned")


async def _chunks(completion: Completion, first: Wired, rest: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """The chunks of a stream; an error in the middle is its last one."""
    async with aclosing(rest):
        try:
            yield completion.begin()
            for chunk in completion.chunks(first):
                yield chunk
            async for event in rest:
                for chunk in completion.chunks(event):
                    yield chunk
        except VglammError as error:
            log.info("%s: %s", completion.request_id, error)
            yield f"data: {json.dumps(told(error).tree(completion.request_id))}\n\n".encode()
        except ClientLeft:
            raise
        except Exception:
            yield f"data: {json.dumps(INTERNAL.tree(completion.request_id))}\n\n".encode()
            raise
