"""Deployments that do as a test says, and a backend over them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from ray.exceptions import ActorDiedError

from serve.backends.masks import Handles
from serve.backends.routed import Routed
from serve.backends.wire import Header
from serve.contract import Ask, PhraseFound, Text, Watching
from serve.profile import Profile
from serve.setup import Setup
from vglamm.media import rle
from vglamm.media.limits import Limits
from vglamm.records import Phrase, Reply, Sampling, Sight

FRAMES = 4
SAMPLING = Sampling((0, 2), (0.0, 0.5), tuple(range(FRAMES)), (0.0, 0.25, 0.5, 0.75), FRAMES, 4.0, (8, 8))
PROMPTS = np.ones((1, 4), np.float32)
REPLY = Reply("<p>it</p>[SEG]", "it", (Phrase("it", 0, 2, 0),), PROMPTS, (5, 6), "stop")
[RLE] = rle.encode(np.ones((1, 8, 8), bool))
WRITTEN = (
    Header(SAMPLING, 1.0, {"probe": 1.0, "decode": 2.0, "vision": 3.0}, 100, "fake@0", 40),
    Text("<p>it</p>[SEG]"),
    PhraseFound(0, "it"),
    REPLY,
)
PIECES = [[WRITTEN[0]], [*WRITTEN[1:]]]
ROWS = tuple((k, [Sight(RLE, (0.0, 0.0, 8.0, 8.0), 0.5)]) for k in range(FRAMES))


class Response:
    """What a handle gives: awaited once, or iterated; a reference for others."""

    def __init__(self, name: str, items: list[Any]) -> None:
        self.name, self.items, self.cancelled = name, list(items), False

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        [item] = self.items
        if isinstance(item, BaseException):
            raise item
        return item

    async def __aiter__(self):
        for item in self.items:
            await asyncio.sleep(0)
            if isinstance(item, BaseException):
                raise item
            yield item

    async def _to_object_ref(self) -> str:
        return f"ref of {self.name}"

    def cancel(self) -> None:
        self.cancelled = True


class Part:
    """A deployment's handle. script: what each call gives in turn, the last for all that follow; begun: what is begun ahead; asked:
    with what it was called, but for that; chosen: options of its handles."""

    def __init__(self, name: str, *script: list[Any], begun: Any = None) -> None:
        self.name, self.script, self.asked, self.given = name, list(script), [], []
        self.begun, self.begins, self.chosen = begun, [], []

    def options(self, **chosen: Any) -> Part:
        self.chosen.append(chosen)
        return self

    def __getattr__(self, method: str) -> Any:
        part = self

        class Method:
            def remote(self, *given: Any) -> Response:
                if method == "begin":
                    part.begins.append(Response("begin", [part.begun]))
                    return part.begins[-1]
                part.asked.append((method, *given))
                items = part.script.pop(0) if len(part.script) > 1 else part.script[0]
                part.given.append(Response(f"{part.name}.{method}", items))
                return part.given[-1]

        return Method()


def routed(
    language: Part | None = None, pixel: Part | None = None, decode: Part | None = None, vision: Part | None = None
) -> tuple[Routed, Handles]:
    handles = Handles(
        decode or Part("decode", ["frames"]),
        vision or Part("vision", ["tokens"]),
        language or Part("language", PIECES),
        pixel or Part("pixel", [[ROWS[0]], list(ROWS[1:])]),
    )
    setup = Setup((("fake", "folder"), ("other", "folder")), Profile("p", retry_after=7.0), "spool", Limits())
    return Routed(handles, setup), handles


def heard(backend: Routed, ask: Ask) -> list[Any]:
    async def listen() -> list[Any]:
        return [event async for event in backend.stream(ask)]

    return asyncio.run(listen())


ASK = Ask("v", "what?", Watching(every_frame=True), source="upload")
LOST = ActorDiedError()
