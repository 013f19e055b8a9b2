"""A backend in one process: the steps of the local walk behind the contract, in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from serve.backends.engine import Engine
from serve.backends.films import Films
from serve.backends.kept import Bounds, Kept
from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts, Watching
from vglamm.answer import Answer
from vglamm.clock import Clock
from vglamm.compose import compose, tracks
from vglamm.errors import ModelUnknown
from vglamm.frames import choose, end_of, grounding_source, vision_input
from vglamm.language.phrases import parse_reply
from vglamm.media.limits import Limits
from vglamm.media.read import VideoSource
from vglamm.pixel.anchor import check_mode
from vglamm.pixel.sight import Row
from vglamm.records import Marks, PixelInput, Reply, Sampling, VisionInput, VisualTokens
from vglamm.steps.pixel import PixelTask
from vglamm.walk import Walk

Item = TypeVar("Item")
Result = TypeVar("Result")


class InProcess:
    """walks: models by name, the default one first. spool: folder or address of the videos. rows, tokens: of the answers that are
    written together, see :class:`serve.backends.engine.Engine`.

    Videos are seen and tracked in one thread, a frame at a time, so that several streams take turns; text is written in another.
    Closing a stream stops its work before its next step of the LM or frame.
    """

    def __init__(
        self,
        walks: Mapping[str, Walk],
        spool: str,
        *,
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        rows: int = 8,
        tokens: int = 32_768,
    ) -> None:
        self.walks = dict(walks)
        self.films = Films(spool, limits or Limits())
        self.engines = {name: Engine(walk.language, rows, tokens) for name, walk in self.walks.items()}
        self.kept: Kept[tuple[str, Watching, Sampling, VisualTokens]] = Kept(bounds or Bounds())
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._openers = ThreadPoolExecutor(2, thread_name_prefix="open")

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        began, name = time.perf_counter(), self._name(ask.model)
        walk, clock = self.walks[name], Clock()
        check_mode(ask.sampling.mode)
        async with self._opened(ask.video, clock) as source:
            sampling, tokens = await self._in(self._worker, self._seen, name, ask, source, clock)
            question = (tokens, ask.history, ask.question)
            raw, found, first_token, wrote = "", 0, None, time.perf_counter()
            reply: Reply | None = None
            async with aclosing(self.engines[name].ask(question, **ask.writing.options)) as events:
                async for event in events:
                    first_token = time.perf_counter() - began if first_token is None else first_token
                    if isinstance(event, str):
                        raw += event
                        yield Text(event)
                    elif isinstance(event, Reply):
                        reply = event
                    else:
                        yield PhraseFound(found, parse_reply(raw).phrases[-1].text)
                        found += 1
            assert reply is not None, "an engine ends with a reply"
            assert first_token is not None, "a reply is an event"
            clock.spent["language"] = time.perf_counter() - wrote
            first_mask, rows = None, []
            async with aclosing(
                pumped(self._rows(walk, source, sampling, reply, ask.sampling.mode, clock), self._worker)
            ) as sights:
                async for position, row in sights:
                    first_mask = time.perf_counter() - began if first_mask is None else first_mask
                    rows.append(row)
                    yield Seen(position, sampling.grounding_times[position], tuple(row))
            answer = compose(
                ask.question,
                reply,
                tracks(rows, len(reply.prompts)),
                sampling,
                source=ask.source,
                model=walk.name,
                end=end_of(source, ask.sampling.end),
                timings=clock.spent,
            )
        read = await self._in(self._openers, walk.language.length, question)
        yield Done(answer, first_token, first_mask, read, len(reply.tokens))

    def _rows(self, walk: Walk, source: VideoSource, sampling: Sampling, reply: Reply, mode: str, clock: Clock) -> Iterator[Row]:
        chunks = grounding_source(source, sampling, walk.config)

        def timed(first: int, stop: int) -> Iterator[PixelInput]:
            return clock.each("decode", chunks(first, stop))

        return clock.each("pixel", walk.pixel.stream(PixelTask(timed, reply.prompts, len(sampling.grounding_indices), mode)))

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        began, walk = time.perf_counter(), self.walks[self._name(correction.ask.model)]
        answer, first = correction.answer, None
        marks = Marks(correction.position, correction.points, correction.box)
        async with self._opened(correction.ask.video, Clock()) as source:
            work = pumped(walk.correct(answer, correction.track, marks, source), self._worker)
            async with aclosing(work) as events:
                async for event in events:
                    first = time.perf_counter() - began if first is None else first
                    if isinstance(event, Answer):
                        yield Done(event, 0.0, first)
                    else:
                        position, [sight] = event
                        sights = list(answer.sights(position))
                        sights[correction.track] = sight
                        yield Seen(position, answer.sampling.grounding_times[position], tuple(sights))

    def _seen(self, name: str, ask: Ask, source: VideoSource, clock: Clock) -> tuple[Sampling, VisualTokens]:
        """What the language model sees of a video, made once in a session."""
        watching, walk, video = replace(ask.sampling, mode=""), self.walks[name], f"{name}/{ask.video}"
        kept = self.kept.get(ask.session)
        if kept is not None and kept[:2] == (video, watching):
            return kept[2], kept[3]
        with clock.run("probe"):
            sampling = choose(source, walk.config, **watching.sampling)
        with clock.run("decode"):
            given = vision_input(source, sampling, walk.config)
        with clock.run("vision"):
            [tokens] = walk.vision([given])
        self.kept.put(ask.session, (video, watching, sampling, tokens), tokens.tokens.nbytes)
        return sampling, tokens

    @asynccontextmanager
    async def _opened(self, video: str, clock: Clock) -> AsyncIterator[VideoSource]:
        film = self.films.opened(video)
        with clock.run("probe"):
            source = await self._in(self._openers, film.__enter__)
        try:
            yield source
        finally:
            self._worker.submit(film.__exit__, None, None, None)  # after what is at work on it

    def _name(self, model: str) -> str:
        name = model or next(iter(self.walks))
        if name not in self.walks:
            raise ModelUnknown(f"model {name!r}", f"one of {', '.join(self.walks)}", "choose one of them")
        return name

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[..., Result], *given: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *given)

    async def probe(self, video: str) -> VideoFacts:
        async with self._opened(video, Clock()) as source:
            info = source.info
            return VideoFacts((info.height, info.width), len(source), info.seconds, info.fps, info.is_image)

    async def forget(self, session: str, place: str = "") -> None:
        await self._in(self._worker, self.kept.drop, session)

    async def models(self) -> tuple[str, ...]:
        return tuple(self.walks)

    async def ready(self) -> bool:
        return True

    async def check(self) -> None:
        """Let each part of each model work on next to nothing, in its turn: one black image, one token about it, one object on it.
        WorkerLost if a model does not write any more."""
        for name, walk in self.walks.items():
            side = walk.config.vision.spatial.image_size
            [seen] = await self._in(self._worker, walk.vision, [VisionInput(np.zeros((1, 3, side, side), np.uint8), None)])
            async with aclosing(self.engines[name].ask((seen, (), "?"), max_new_tokens=1)) as events:
                async for _ in events:
                    continue
            black = PixelInput(np.zeros((1, 3, 32, 32), np.uint8), (32, 32))
            task = PixelTask([black], np.zeros((1, walk.config.pixel.prompt_width), np.float32), 1)
            await self._in(self._worker, list, walk.pixel.stream(task))

    def close(self) -> None:
        """End the threads, after what they are at."""
        for engine in self.engines.values():
            engine.close()
        self._worker.shutdown()
        self._openers.shutdown()
        self.films.close()


async def pumped(items: Iterator[Item], worker: ThreadPoolExecutor) -> AsyncGenerator[Item, None]:
    """The items of a blocking iterator, each made in the one thread of ``worker`` when it is asked for. Closing this, or cancelling
    who waits for it, closes the iterator as soon as the item at work is done."""
    loop = asyncio.get_running_loop()
    end = object()
    try:
        while (item := await loop.run_in_executor(worker, next, items, end)) is not end:
            yield item  # type: ignore[misc]
    finally:
        worker.submit(_close, items)


def _close(items: Iterator[Any]) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()
