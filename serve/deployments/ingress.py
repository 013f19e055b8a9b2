"""The ingress: the HTTP application over the deployments, metrics of Ray's agents, notes for the tally."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import ray
from ray import serve as ray_serve
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Counter, Histogram
from starlette.types import ASGIApp

from serve.backends.failures import RAISED
from serve.backends.masks import Handles
from serve.backends.routed import Routed
from serve.backends.through import Through
from serve.contract import Ask, Backend, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts
from serve.ingress import api, well
from serve.settings import Settings
from serve.setup import Setup
from serve.tally import Note
from vglamm.errors import VglammError

_LATENCIES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


class Noted:
    """A backend that notes what came of each question."""

    def __init__(self, inner: Backend, tally: DeploymentHandle) -> None:
        self.inner, self.tally = inner, tally
        self.notes: list[Note] = []
        self.noted = asyncio.Event()
        self.tokens = Counter("vglamm_tokens", "Tokens that were written.")
        self.masks = Counter("vglamm_masks", "Masks that were made.")
        self.seconds = Histogram("vglamm_answer_seconds", "Seconds of an answer.", boundaries=_LATENCIES, tag_keys=("outcome",))

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        async with aclosing(self._noted("ask", self.inner.stream(ask))) as events:
            async for event in events:
                yield event

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        async with aclosing(self._noted("correct", self.inner.correct(correction))) as events:
            async for event in events:
                yield event

    async def _noted(self, kind: str, inner: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        began, failed, tokens, masks = time.perf_counter(), "Cancelled", 0, 0
        first_token = first_mask = None
        try:
            async with aclosing(inner) as events:
                async for event in events:
                    match event:
                        case Text() | PhraseFound():
                            tokens += isinstance(event, Text)
                        case Seen():
                            masks += len(event.sights)
                        case Done():
                            first_token, first_mask, failed = event.first_token_s, event.first_mask_s, ""
                            tokens = event.written_tokens or tokens
                    yield event
        except RAISED as error:
            failed = type(error).__name__
            raise
        finally:
            spent = time.perf_counter() - began
            self.seconds.observe(spent, tags={"outcome": failed or "ok"})
            for counter, amount in ((self.tokens, tokens), (self.masks, masks)):
                if amount:
                    counter.inc(amount)
            self.notes.append(Note(kind, failed, spent, first_token, first_mask, tokens, masks))
            self.noted.set()

    async def deliver(self) -> None:
        """Tell the tally, for ever, and at once: an endpoint may end right after an answer."""
        while True:
            await self.noted.wait()
            self.noted.clear()
            notes, self.notes = self.notes, []
            with contextlib.suppress(*RAISED):  # sums may miss some; answers may not
                await self.tally.note.remote(notes)

    async def probe(self, video: str) -> VideoFacts:
        return await self.inner.probe(video)

    async def forget(self, session: str, place: str = "") -> None:
        await self.inner.forget(session, place)

    async def models(self) -> tuple[str, ...]:
        return await self.inner.models()

    async def ready(self) -> bool:
        return await self.inner.ready()


def listens() -> str | None:
    """The address at which the proxies of this Serve listen if it has any; None without a Ray, in Serve's local testing mode."""
    client = _get_global_client() if ray.is_initialized() else None
    host: str | None = None if client is None else client.http_config.host
    return host


@ray_serve.ingress()
class Ingress:
    """parts: handles by the names of the layout's deployments."""

    def __init__(self, setup: Setup, settings: Settings, tally: DeploymentHandle, parts: dict[str, DeploymentHandle]) -> None:
        settings.check(listens())
        inner: Backend = Through(parts["whole"], setup) if "whole" in parts else Routed(Handles(**parts), setup)
        self.backend, self.settings = Noted(inner, tally), settings
        self.requests = Counter("vglamm_requests", "Requests that are over.", tag_keys=("route", "method", "status"))
        self.seconds = Histogram(
            "vglamm_request_seconds", "Seconds of a request.", boundaries=_LATENCIES, tag_keys=("route", "method")
        )
        self.delivery = asyncio.get_event_loop().create_task(self.backend.deliver())
        self.routes = api(self.backend, self.settings, self._hear)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self.routes

    def _hear(self, route: str, method: str, status: int, seconds: float) -> None:
        self.requests.inc(tags={"route": route, "method": method, "status": str(status)})
        self.seconds.observe(seconds, tags={"route": route, "method": method})

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """The backend without HTTP, for tests and benchmarks."""
        async with aclosing(self.backend.stream(ask)) as events:
            async for event in events:
                yield event

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        async with aclosing(self.backend.correct(correction)) as events:
            async for event in events:
                yield event

    async def answer(self, ask: Ask) -> tuple[Done, float, float]:
        """Its end alone, as a client hears it who does not stream; and seconds from its beginning to the last text and mask."""
        began, text, mask = time.perf_counter(), 0.0, 0.0
        async with aclosing(self.backend.stream(ask)) as events:
            async for event in events:
                match event:
                    case Text():
                        text = time.perf_counter() - began
                    case Seen():
                        mask = time.perf_counter() - began
                    case Done():
                        return event, text, mask
        raise AssertionError("a stream ends with Done")

    async def check_health(self) -> None:
        if self.delivery.done() or not well(self.routes):
            raise VglammError("an ingress that delivers no notes or does no jobs", "one that works", "it is replaced")
