"""A backend that says the same of every video, without a model, and counts what it does; and a server for it on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts
from vglamm.answer import Answer
from vglamm.errors import ModelUnknown, VglammError
from vglamm.media import rle
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits
from vglamm.places import join, local_copy
from vglamm.records import Phrase, Sampling, Sight, Track

PIECES = ("<p>", " a", " cat", " </p>", " [SEG]", " sleeps", ".")
RAW, TEXT = "".join(PIECES), "a cat sleeps."
NAMES = ("tiny", "other")


class Canned:
    """spool: folder or address. The video is really examined; the masks are a square that goes to the right.

    asks: what it was asked. open: streams that are at work. steps: tokens and frames that were made. held: every step waits until
    :meth:`go_on` allows it. fail: raised by a stream after its first piece of text. refuse: raised by a stream at once.
    stepped, opened, ended: released for every step, every stream that began, and every one that ended in any way.
    """

    def __init__(self, spool: str, limits: Limits | None = None) -> None:
        self.spool, self.limits = spool, limits or Limits()
        self.asks: list[Ask] = []
        self.forgotten: list[str] = []
        self.places: list[str] = []
        self.corrections: list[Correct] = []
        self.open = self.steps = 0
        self.held = False
        self.fail: Exception | None = None
        self.refuse: VglammError | None = None
        self.is_ready = True
        self.stepped = threading.Semaphore(0)
        self.opened, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self._known: dict[str, VideoFacts] = {}
        self._lock, self._allowed = threading.Lock(), 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        self.asks.append(ask)
        if self.refuse is not None:
            raise self.refuse
        if ask.model not in ("", *NAMES):
            raise ModelUnknown(f"model {ask.model!r}", "tiny", "choose it")
        facts = await self.probe(ask.video)
        answer = answer_of(ask, facts)
        self.open += 1
        self.opened.release()
        try:
            for piece in PIECES:
                await self._step()
                yield Text(piece)
                if self.fail is not None:
                    raise self.fail
                if piece == " [SEG]":
                    yield PhraseFound(0, "a cat")
            for event in seen(answer):
                await self._step()
                yield event
            yield Done(answer, 0.25, 0.5, 40, len(PIECES), place=f"after {len(self.asks)}")
        finally:
            self.open -= 1
            self.ended.release()

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        self.corrections.append(correction)
        for event in seen(correction.answer):
            yield event
        yield Done(replace(correction.answer, warnings=("corrected",)), 0.0, 0.5)

    async def probe(self, video: str) -> VideoFacts:
        if video not in self._known:
            self._known[video] = await asyncio.to_thread(self._facts, video)
        return self._known[video]

    async def forget(self, session: str, place: str = "") -> None:
        self.forgotten.append(session)
        self.places.append(place)

    async def models(self) -> tuple[str, ...]:
        return NAMES

    async def ready(self) -> bool:
        return self.is_ready

    def _facts(self, video: str) -> VideoFacts:
        with (
            local_copy(join(self.spool, video), self.limits) as path,
            closing(open_guarded(path, self.limits)) as source,
        ):
            info = source.info
            return VideoFacts((info.height, info.width), len(source), info.seconds, info.fps, info.is_image)

    async def _step(self) -> None:
        await asyncio.sleep(0)
        while self.held:
            go = asyncio.Event()
            with self._lock:
                if self._allowed:
                    self._allowed -= 1
                    break
                self._waiting.append((asyncio.get_running_loop(), go))
            await go.wait()
        self.steps += 1
        self.stepped.release()

    def go_on(self, steps: int = 1_000_000) -> None:
        """Allow so many steps more. Of any thread."""
        with self._lock:
            self._allowed += steps
            waiting, self._waiting = self._waiting, []
        for loop, go in waiting:
            loop.call_soon_threadsafe(go.set)


def answer_of(ask: Ask, facts: VideoFacts) -> Answer:
    height, width = facts.size
    side, frames = min(height, width) // 2, facts.frames
    masks = np.zeros((frames, height, width), bool)
    for k in range(frames):
        left = k * (width - side) // max(frames - 1, 1)
        masks[k, :side, left : left + side] = True
    found = rle.encode(masks)
    boxes = tuple(tuple(float(v) for v in box) for box in rle.boxes(found) if box is not None)
    times = tuple(k / (facts.fps or 1.0) for k in range(frames))
    everything = tuple(range(frames))
    return Answer(
        question=ask.question,
        text=TEXT,
        raw=RAW,
        phrases=(Phrase("a cat", 0, 5, 0),),
        tracks=(Track(tuple(found), boxes, (0.75,) * frames, 0.75, 0, frames - 1),),
        moments=(),
        sampling=Sampling(everything[:4], times[:4], everything, times, frames, facts.fps, facts.size),
        source=ask.source,
        model="canned",
    )


def seen(answer: Answer) -> Iterator[Seen]:
    track = answer.tracks[0]
    for position, at in enumerate(answer.sampling.grounding_times):
        yield Seen(position, at, (Sight(track.rle[position], track.boxes[position], track.scores[position]),))


@contextmanager
def served(app: Any, **options: Any) -> Iterator[str]:
    """The address of a real server of ``app``, in a thread."""
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=2, **options)
    server = uvicorn.Server(config)
    started = threading.Event()
    up = server.startup

    async def startup(sockets: Any = None) -> None:
        await up(sockets)
        started.set()

    server.startup = startup  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(60), "no server"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)


def spooled(folder: Path, kind: str = "videos") -> list[str]:
    """Names of what a spool holds of a kind, half-written files included."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path.name for path in (folder / kind).iterdir())
    return []
