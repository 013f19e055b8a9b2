"""A backend in one process: the local walk behind the contract, its blocking steps in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts, Watching
from serve.kept import Bounds, Kept
from vglamm.answer import Answer
from vglamm.errors import ModelUnknown
from vglamm.frames import choose, vision_input
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits
from vglamm.pixel.anchor import check_mode
from vglamm.places import join, local_copy
from vglamm.records import Marks, Phrase, Sampling, VisionInput, VisualTokens
from vglamm.walk import Clock, Session, Walk

Item = TypeVar("Item")


class InProcess:
    """walks: models by name, the default one first. spool: folder or address of the videos.

    The model works in one thread, a token or a frame at a time, so that several streams take turns; closing a stream stops it
    before its next token or frame.
    """

    def __init__(
        self, walks: Mapping[str, Walk], spool: str, *, limits: Limits | None = None, bounds: Bounds | None = None
    ) -> None:
        self.walks, self.spool, self.limits = dict(walks), spool, limits or Limits()
        self.kept: Kept[tuple[str, Watching, Sampling, VisualTokens]] = Kept(bounds or Bounds())
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._probes = ThreadPoolExecutor(2, thread_name_prefix="probe")

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        first: dict[type, float] = {}
        times: tuple[float, ...] = ()
        work = pumped(self._answer(ask), self._worker)
        try:
            async for event in work:
                first.setdefault(type(event), time.perf_counter() - began)
                match event:
                    case Sampling():
                        times = event.grounding_times
                    case str():
                        yield Text(event)
                    case Phrase():
                        yield PhraseFound(event.track, event.text)
                    case Answer():
                        answer = replace(event, source=ask.source)
                        yield Done(answer, first.get(str, first[Answer]), first.get(tuple))
                    case position, sights:
                        yield Seen(position, times[position], tuple(sights))
        finally:
            await work.aclose()

    def _answer(self, ask: Ask) -> Iterator[Any]:
        """The walk's own events, after the Sampling that was chosen."""
        walk = self._walk(ask.model)
        check_mode(ask.sampling.mode)
        clock = Clock()
        with local_copy(join(self.spool, ask.video), self.limits) as path:
            with clock.run("probe"):
                source = open_guarded(path, self.limits)
            with closing(source):
                sampling, tokens = self._seen(walk, ask, source, clock)
                yield sampling
                session = Session(walk, source, sampling, tokens, ask.sampling.mode, clock)
                session.history = list(ask.history)
                yield from session.stream(ask.question, **ask.writing.options)

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        began = time.perf_counter()
        answer, first = correction.answer, None
        work = pumped(self._corrected(correction), self._worker)
        try:
            async for event in work:
                first = time.perf_counter() - began if first is None else first
                if isinstance(event, Answer):
                    yield Done(event, 0.0, first)
                else:
                    position, [sight] = event
                    sights = list(answer.sights(position))
                    sights[correction.track] = sight
                    yield Seen(position, answer.sampling.grounding_times[position], tuple(sights))
        finally:
            await work.aclose()

    def _corrected(self, correction: Correct) -> Iterator[Any]:
        walk, ask = self._walk(correction.ask.model), correction.ask
        marks = Marks(correction.position, correction.points, correction.box)
        with local_copy(join(self.spool, ask.video), self.limits) as path, closing(open_guarded(path, self.limits)) as source:
            yield from walk.correct(correction.answer, correction.track, marks, source)

    def _seen(self, walk: Walk, ask: Ask, source: Any, clock: Clock) -> tuple[Sampling, VisualTokens]:
        """What the language model sees of a video, made once in a session."""
        watching = replace(ask.sampling, mode="")
        kept = self.kept.get(ask.session)
        if kept is not None and kept[:2] == (f"{ask.model}/{ask.video}", watching):
            return kept[2], kept[3]
        with clock.run("probe"):
            sampling = choose(source, walk.config, **watching.sampling)
        with clock.run("decode"):
            given = vision_input(source, sampling, walk.config)
        with clock.run("vision"):
            [tokens] = walk.vision([given])
        self.kept.put(ask.session, (f"{ask.model}/{ask.video}", watching, sampling, tokens), tokens.tokens.nbytes)
        return sampling, tokens

    def _walk(self, model: str) -> Walk:
        name = model or next(iter(self.walks))
        if name not in self.walks:
            raise ModelUnknown(f"model {name!r}", f"one of {', '.join(self.walks)}", "choose one of them")
        return self.walks[name]

    async def probe(self, video: str) -> VideoFacts:
        return await asyncio.get_running_loop().run_in_executor(self._probes, facts, join(self.spool, video), self.limits)

    async def forget(self, session: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._worker, self.kept.drop, session)

    async def models(self) -> tuple[str, ...]:
        return tuple(self.walks)

    async def ready(self) -> bool:
        return True

    async def check(self) -> None:
        """Let the model look at one black image, in its turn."""
        walk = self._walk("")
        side = walk.config.vision.spatial.image_size
        black = VisionInput(np.zeros((1, 3, side, side), np.uint8), None)
        await asyncio.get_running_loop().run_in_executor(self._worker, walk.vision, [black])

    def close(self) -> None:
        """End the threads, after what they are at."""
        self._worker.shutdown(cancel_futures=True)
        self._probes.shutdown(cancel_futures=True)


def facts(uri: str, limits: Limits) -> VideoFacts:
    """What a video is, examined within limits. VideoError if it cannot be used."""
    with local_copy(uri, limits) as path, closing(open_guarded(path, limits)) as source:
        info = source.info
        return VideoFacts((info.height, info.width), len(source), info.seconds, info.fps, info.is_image)


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
