"""The walk over deployments: four calls, results passed on by reference, grounding frames decoded while vision and language work.

Of a video, the ingress sees names, numbers, text, prompts and run-length codes; frames and visual tokens go between replicas.
A replica that dies costs its requests one more try: decoding, seeing, writing and tracking are pure, so what was told already is
made again and not told twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from serve.backends.masks import Handles, Masks, tracked
from serve.backends.retry import Retry
from serve.backends.sightings import Sightings
from serve.backends.through import running
from serve.backends.wire import Asked, Cue, Film, Grounding, Header
from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts
from serve.setup import Setup
from vglamm.compose import compose, corrected, tracks
from vglamm.errors import WorkerLost
from vglamm.records import Marks, Reply, Sight

FEW = 4
"""Questions in flight up to which pixel works before it is asked to."""


class Routed:
    """The backend of the split layout. Visual tokens of sessions stay where vision left them; here only references are kept."""

    def __init__(self, handles: Handles, setup: Setup) -> None:
        profile = setup.profile
        self.handles, self.setup, self.retry, self.seen = handles, setup, Retry(profile.retry_after), Sightings(profile)
        self.asked = 0

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        self.asked += 1
        try:
            async with aclosing(self._answered(ask)) as events:
                async for event in events:
                    yield event
        finally:
            self.asked -= 1

    async def _answered(self, ask: Ask) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        model = self.setup.name(ask.model)
        film, handles = Film(ask.video, ask.sampling), self.handles.of(model)
        masks = Masks(handles, self.retry, film, ask.sampling.mode, alone=self.asked <= FEW)
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
                        case Cue():
                            assert header is not None, "language begins with its header"
                            await masks.cue(event, len(header.sampling.grounding_times))
                        case _:
                            first_token = time.perf_counter() - began if first_token is None else first_token
                            yield event
            assert header is not None, "language begins with its header"
            assert reply is not None, "language ends with its reply"
            wrote = time.perf_counter()
            times, found = header.sampling.grounding_times, []
            if len(reply.prompts):
                async with aclosing(masks.rows(reply.prompts, len(times))) as rows:
                    async for position, sights in rows:
                        first_mask = time.perf_counter() - began if first_mask is None else first_mask
                        found.append(sights)
                        yield Seen(position, times[position], tuple(sights))
        finally:
            await masks.stop()
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
        first_token = wrote - began if first_token is None else first_token
        yield Done(answer, first_token, first_mask, header.read, len(reply.tokens), header.place)

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        ask, answer, number = correction.ask, correction.answer, correction.track
        before = answer.tracks[number].rle[correction.position] if self._has(correction) else None
        marks = Marks(correction.position, correction.points, correction.box, before)
        film, handles = Film(ask.video, ask.sampling), self.handles.of(self.setup.name(ask.model))
        times, first = answer.sampling.grounding_times, None
        task = Grounding(film, len(times), ask.sampling.mode, marks=marks)
        found: dict[int, list[Sight]] = {}
        async with aclosing(tracked(handles, self.retry, None, task)) as rows:
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
        facts: VideoFacts = await self.retry.call(lambda: self.handles.decode.probe.remote(video))
        return facts

    async def forget(self, session: str, place: str = "") -> None:
        await self.seen.forget(session, place, self.handles)

    async def models(self) -> tuple[str, ...]:
        return self.setup.names

    async def ready(self) -> bool:
        return await asyncio.to_thread(running, self.setup)

    async def _written(self, ask: Ask, film: Film, model: str, handles: Handles) -> AsyncGenerator[Any, None]:
        """What language tells, from the header to the reply."""

        async def make(again: bool) -> AsyncGenerator[Any, None]:
            async with aclosing(self._front(ask, film, model, handles, again)) as events:
                async for event in events:
                    yield event

        heard: list[Any] = []
        async with aclosing(self.retry.stream(make)) as events:
            async for number, event in events:
                if number == len(heard):
                    heard.append(event if isinstance(event, Text | PhraseFound) else type(event))
                    yield event
                elif isinstance(event, Text | PhraseFound) and event != heard[number]:
                    raise WorkerLost("another text than before a replica was lost", "the same", "ask again")

    async def _front(self, ask: Ask, film: Film, model: str, handles: Handles, again: bool) -> AsyncGenerator[Any, None]:
        tokens = await self.seen.tokens(ask, film, model, handles, again=again)
        asked = Asked(ask.question, ask.history, ask.writing, ask.live)
        written = handles.language.options(stream=True).write.remote(tokens.watched, asked)
        try:
            async for piece in written:
                for event in piece:
                    if isinstance(event, Header):
                        await self.seen.keep(ask.session, film, model, tokens, event)
                        event = event if tokens.fresh else replace(event, spent={})
                    yield event
        finally:
            written.cancel()
            for response in tokens.pending:
                response.cancel()

    @staticmethod
    def _has(correction: Correct) -> bool:
        """Whether the answer has the track on the frame; else the marks are refused by who knows why."""
        known = correction.answer.tracks
        return 0 <= correction.track < len(known) and 0 <= correction.position < len(known[correction.track].rle)
