"""The walk over deployments: four calls, results passed on by reference, grounding frames decoded while vision and language work.

Of a video, the ingress sees names, numbers, text, prompts and run-length codes; frames and visual tokens go between replicas.
A replica that dies costs its requests one more try: decoding, seeing, writing and tracking are pure, so what was told already is
made again and not told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts
from serve.failures import RAISED, told
from serve.kept import Bounds, Kept
from serve.setup import Setup
from serve.wire import Asked, Film, Grounding, Header
from vglamm.compose import compose, corrected, tracks
from vglamm.errors import VglammError, WorkerLost
from vglamm.records import Marks, Reply, Sight

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Row = tuple[int, list[Sight]]


@dataclass(frozen=True)
class Handles:
    """The deployments of the split layout."""

    decode: DeploymentHandle
    vision: DeploymentHandle
    language: DeploymentHandle
    pixel: DeploymentHandle

    def of(self, model: str) -> Handles:
        """The same for another model than the default one."""
        if not model:
            return self
        return Handles(*(handle.options(multiplexed_model_id=model) for handle in vars(self).values()))


class Routed:
    """The backend of the split layout. Visual tokens of sessions stay where vision left them; here only references are kept."""

    def __init__(self, handles: Handles, setup: Setup) -> None:
        profile = setup.profile
        self.handles, self.setup = handles, setup
        self.kept: Kept[tuple[Film, str, Any]] = Kept(Bounds(profile.sessions, profile.session_bytes, profile.session_seconds))

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        model = self.setup.name(ask.model)
        film, handles = Film(ask.video, ask.sampling), self.handles.of(model)
        frames = handles.decode.frames.remote(film, 0)  # at once, beside vision and language
        first_token = first_mask = None
        header, reply = None, None
        try:
            async with aclosing(self._written(ask, film, model, handles)) as events:
                async for event in events:
                    match event:
                        case Header():
                            header = event
                        case Reply():
                            reply = event
                        case _:
                            first_token = time.perf_counter() - began if first_token is None else first_token
                            yield event
            assert header is not None, "language begins with its header"
            assert reply is not None, "language ends with its reply"
            wrote = time.perf_counter()
            times, found = header.sampling.grounding_times, []
            if len(reply.prompts):
                task = Grounding(film, len(times), ask.sampling.mode, prompts=reply.prompts)
                async with aclosing(self._tracked(handles, frames, task)) as rows:
                    async for position, sights in rows:
                        first_mask = time.perf_counter() - began if first_mask is None else first_mask
                        found.append(sights)
                        yield Seen(position, times[position], tuple(sights))
        finally:
            frames.cancel()
        ended = time.perf_counter()
        spent = {name: header.spent.get(name, 0.0) for name in ("probe", "decode", "vision")}
        spent |= {"language": wrote - began - sum(spent.values()), "pixel": ended - wrote}
        answer = compose(
            ask.question,
            reply,
            tracks(found, len(reply.prompts)),
            header.sampling,
            source=ask.source,
            model=header.model,
            end=header.end,
            timings=spent,
        )
        yield Done(answer, wrote - began if first_token is None else first_token, first_mask, header.read, len(reply.tokens))

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        ask, answer, number = correction.ask, correction.answer, correction.track
        before = answer.tracks[number].rle[correction.position] if self._has(correction) else None
        marks = Marks(correction.position, correction.points, correction.box, before)
        film, handles = Film(ask.video, ask.sampling), self.handles.of(self.setup.name(ask.model))
        times, first = answer.sampling.grounding_times, None
        task = Grounding(film, len(times), ask.sampling.mode, marks=marks)
        found: dict[int, list[Sight]] = {}
        async with aclosing(self._tracked(handles, None, task)) as rows:
            async for position, row in rows:
                first = time.perf_counter() - began if first is None else first
                found[position] = row
                sights = list(answer.sights(position))
                [sights[number]] = row
                yield Seen(position, times[position], tuple(sights))
        [track] = tracks([found[position] for position in range(len(times))], 1)
        spent = {"pixel": time.perf_counter() - began}
        yield Done(corrected(answer, number, track, correction.position, spent), 0.0, first)

    async def probe(self, video: str) -> VideoFacts:
        facts: VideoFacts = await self._again(lambda: self.handles.decode.probe.remote(video))
        return facts

    async def forget(self, session: str) -> None:
        self.kept.drop(session)

    async def models(self) -> tuple[str, ...]:
        return self.setup.names

    async def ready(self) -> bool:
        return await asyncio.to_thread(running, self.setup)

    async def _written(self, ask: Ask, film: Film, model: str, handles: Handles) -> AsyncGenerator[Any, None]:
        """What language tells, from the header to the reply."""

        async def make(again: bool) -> AsyncGenerator[Any, None]:
            if again and ask.session is not None:
                self.kept.drop(ask.session)
            async with aclosing(self._front(ask, film, model, handles)) as events:
                async for event in events:
                    yield event

        heard: list[Any] = []
        async with aclosing(self._twice(make)) as events:
            async for number, event in events:
                if number == len(heard):
                    heard.append(event if isinstance(event, Text | PhraseFound) else type(event))
                    yield event
                elif isinstance(event, Text | PhraseFound) and event != heard[number]:
                    raise WorkerLost("another text than before a replica was lost", "the same", "ask again")

    async def _front(self, ask: Ask, film: Film, model: str, handles: Handles) -> AsyncGenerator[Any, None]:
        seen = replace(film, watching=replace(film.watching, mode="video"))
        kept = self.kept.get(ask.session)
        if kept is not None and kept[:2] == (seen, model):
            watched, pending = kept[2], []
        else:
            look = handles.decode.look.remote(film)
            watched = handles.vision.see.remote(look)
            pending = [look, watched]
        written = handles.language.options(stream=True).write.remote(watched, Asked(ask.question, ask.history, ask.writing))
        try:
            async for event in written:
                if isinstance(event, Header) and pending and ask.session is not None:
                    self.kept.put(ask.session, (seen, model, await watched._to_object_ref()), event.bytes)
                if isinstance(event, Header) and not pending:
                    event = replace(event, spent={})  # this time nothing was decoded or seen
                yield event
        finally:
            written.cancel()
            for response in pending:
                response.cancel()

    async def _tracked(self, handles: Handles, first: DeploymentResponse | None, task: Grounding) -> AsyncGenerator[Row, None]:
        """Rows of pixel, none twice."""

        async def make(again: bool) -> AsyncGenerator[Row, None]:
            stream = handles.pixel.options(stream=True).ground.remote(None if again else first, task)
            try:
                async for rows in stream:
                    for row in rows:
                        yield row
            finally:
                stream.cancel()

        known: set[int] = set()
        async with aclosing(self._twice(make)) as rows:
            async for _, row in rows:
                if row[0] not in known:
                    known.add(row[0])
                    yield row

    async def _twice(self, make: Callable[[bool], AsyncGenerator[Result, None]]) -> AsyncGenerator[tuple[int, Result], None]:
        """The items of ``make(False)`` with their numbers; if a replica is lost, those of ``make(True)``, counted from 0 again."""
        for again in (False, True):
            try:
                async with aclosing(make(again)) as items:
                    number = 0
                    async for item in items:
                        yield number, item
                        number += 1
                return
            except RAISED as error:
                self._raise_unless_lost(error, again)

    async def _again(self, make: Callable[[], Awaitable[Result]]) -> Result:
        for again in (False, True):
            try:
                return await make()
            except RAISED as error:
                self._raise_unless_lost(error, again)
        raise AssertionError("returned or raised")

    def _raise_unless_lost(self, error: BaseException, again: bool) -> None:
        cause = told(error, self.setup.profile.retry_after)
        if again or not isinstance(cause, WorkerLost):
            if isinstance(cause, VglammError):
                raise cause from None
            raise error
        log.warning("a replica was lost: its request is tried once more")

    @staticmethod
    def _has(correction: Correct) -> bool:
        """Whether the answer has the track on the frame; else the marks are refused by who knows why."""
        known = correction.answer.tracks
        return 0 <= correction.track < len(known) and 0 <= correction.position < len(known[correction.track].rle)


class Through:
    """The backend of the whole layout: one deployment does it all."""

    def __init__(self, whole: DeploymentHandle, setup: Setup) -> None:
        self.whole, self.setup = whole, setup

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
        """Retried once if the replica is lost; what was told is not told again."""
        heard = 0
        for again in (False, True):
            handle = self.whole.options(method_name=method, stream=True, **({"session_id": session} if session else {}))
            stream = handle.remote(given)
            number = 0
            try:
                async for event in stream:
                    number += 1
                    if number > heard:
                        heard = number
                        yield event
                return
            except RAISED as error:
                cause = told(error, self.setup.profile.retry_after)
                if again or not isinstance(cause, WorkerLost):
                    if isinstance(cause, VglammError):
                        raise cause from None
                    raise
            finally:
                stream.cancel()

    async def probe(self, video: str) -> VideoFacts:
        try:
            facts: VideoFacts = await self.whole.probe.remote(video)
        except RAISED as error:
            cause = told(error, self.setup.profile.retry_after)
            if isinstance(cause, VglammError) and not isinstance(cause, WorkerLost):
                raise cause from None
            facts = await self.whole.probe.remote(video)
        return facts

    async def forget(self, session: str) -> None:
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
