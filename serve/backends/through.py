"""The backend of the whole layout: one deployment does it all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from serve.backends.failures import RAISED
from serve.backends.retry import Retry
from serve.contract import Ask, Correct, Event, VideoFacts
from serve.setup import Setup


class Through:
    """Of a session, the same replica is asked if it can be; another one sees the video again."""

    def __init__(self, whole: DeploymentHandle, setup: Setup) -> None:
        self.whole, self.setup, self.retry = whole, setup, Retry(setup.profile.retry_after)

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        self.setup.name(ask.model)
        async with aclosing(self._events("stream", ask, ask.session)) as events:
            async for event in events:
                yield event

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        async with aclosing(self._events("correct", correction, correction.ask.session)) as events:
            async for event in events:
                yield event

    async def _events(self, method: str, given: Ask | Correct, session: str | None) -> AsyncGenerator[Event, None]:
        handle = self.whole.options(method_name=method, stream=True, **({"session_id": session} if session else {}))

        async def make(_: bool) -> AsyncGenerator[Event, None]:
            stream = handle.remote(given)
            try:
                async for event in stream:
                    yield event
            finally:
                stream.cancel()

        heard = 0
        async with aclosing(self.retry.stream(make)) as events:
            async for number, event in events:
                if number == heard:  # what was told before a replica was lost is not told again
                    heard += 1
                    yield event

    async def probe(self, video: str) -> VideoFacts:
        facts: VideoFacts = await self.retry.call(lambda: self.whole.probe.remote(video))
        return facts

    async def forget(self, session: str, place: str = "") -> None:
        with contextlib.suppress(*RAISED):  # a replica that is gone keeps nothing
            await self.whole.options(session_id=session).forget.remote(session)

    async def models(self) -> tuple[str, ...]:
        return self.setup.names

    async def ready(self) -> bool:
        return await asyncio.to_thread(running, self.setup)


def running(setup: Setup) -> bool:
    """Whether every part has a replica that runs, or may start when asked."""
    try:
        found = ray_serve.status().applications[ray_serve.get_replica_context().app_name].deployments
    except RAISED:
        return False
    for name, part in setup.profile.parts.items():
        deployment = found.get(name)
        if deployment is None or (part.replicas[0] and not deployment.replica_states.get("RUNNING", 0)):
            return False
    return True
