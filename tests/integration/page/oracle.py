"""A backend that knows the clips of the gallery and always tells the truth about them, and the application over it on a port.

It honours the contract of a backend as the real ones do, but a test can hold it back between two events, or have it fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray

from serve.contract import Ask, Correct, Done, Event, PhraseFound, Seen, Text, VideoFacts
from serve.http import gallery
from tests.unit.media.shapes import answer_about, track_of
from vglamm.answer import Answer
from vglamm.data.sample import Turn
from vglamm.data.world import FPS
from vglamm.data.world.dialogue import dialogues
from vglamm.data.world.scene import Scene
from vglamm.data.world.words import KINDS
from vglamm.errors import MaskError, VglammError
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits

NOTHING = Turn("What?", "There is nothing that I know.", "none")
PIECE = re.compile(r"\s*\S+")


class Oracle:
    """spool: the folder of the videos. failing: what asking a question raises, before anything or, for the question with a "!" in
    front, after its text. asked, left: every question, and those whose stream was closed before its end. ``hold`` stops every
    stream before its next event until ``release``; both may be called from any thread.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.failing: dict[str, VglammError] = {}
        self.asked: list[Ask] = []
        self.left: list[str] = []
        self.scenes = {_digest(gallery.content(plan.name) or b""): plan.scene() for plan in gallery.DRAWN}
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        self.asked.append(ask)
        if ask.question in self.failing:
            raise self.failing[ask.question]
        scene = self.scenes.get(_digest((self.spool / ask.video).read_bytes()))
        turn = NOTHING if scene is None else _turn(scene, ask.question)
        whole, found, began, first = False, 0, time.perf_counter(), dict[type, float]()
        try:
            for piece in PIECE.findall(turn.answer):
                await self._held()
                first.setdefault(Text, time.perf_counter() - began)
                yield Text(piece)
                if "[SEG]" in piece:
                    yield PhraseFound(found, None)
                    found += 1
            if f"!{ask.question}" in self.failing:
                raise self.failing[f"!{ask.question}"]
            answer = replace(_answer(scene, turn, await self.probe(ask.video)), question=ask.question, source=ask.source)
            async for event in self._masks(answer, range(len(answer.sampling.grounding_times)) if found else ()):
                first.setdefault(Seen, time.perf_counter() - began)
                yield event
            whole = True
            yield Done(answer, first[Text], first.get(Seen))
        finally:
            if not whole:
                self.left.append(ask.question)

    async def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        """The object that is marked, whichever it is: of points the last one inside, of a box the one that fills most of it."""
        scene = self.scenes[_digest((self.spool / correction.ask.video).read_bytes())]
        masks = scene.mask(_marked(scene.id_map[correction.position], correction))
        tracks = list(correction.answer.tracks)
        tracks[correction.track] = track_of(masks)
        answer, frames = replace(correction.answer, tracks=tuple(tracks)), range(len(masks))
        async for event in self._masks(answer, [*frames[correction.position :], *reversed(frames[: correction.position])]):
            yield event
        yield Done(answer, 0.0, None)

    async def _masks(self, answer: Answer, positions: Any) -> AsyncGenerator[Event, None]:
        for position in positions:
            await self._held()
            yield Seen(position, answer.sampling.grounding_times[position], answer.sights(position))

    async def _held(self) -> None:
        if not self._open.is_set():
            await asyncio.to_thread(self._open.wait)

    async def probe(self, video: str) -> VideoFacts:
        return await asyncio.to_thread(_facts, self.spool / video)

    async def forget(self, session: str, place: str = "") -> None:
        """Nothing is kept."""

    async def models(self) -> tuple[str, ...]:
        return ("oracle",)

    async def ready(self) -> bool:
        return True


def _facts(path: Path) -> VideoFacts:
    with closing(open_guarded(path, Limits())) as source:
        info = source.info
        return VideoFacts((info.height, info.width), len(source), info.seconds, info.fps, info.is_image)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _turn(scene: Scene, question: str) -> Turn:
    """The dialogue of the scene with this question; its description for any other question."""
    wordings = (np.random.default_rng(seed) for seed in range(16))
    turns = {turn.question: turn for rng in wordings for kind in KINDS for turn in dialogues(scene, rng, 40, (kind,))}
    return turns.get(question) or next(turn for turn in turns.values() if turn.kind == "description")


def _answer(scene: Scene | None, turn: Turn, video: VideoFacts) -> Answer:
    height, width = video.size
    masks = np.zeros((0, video.frames, height, width), np.bool_)
    if scene is not None and turn.targets:
        masks = np.stack([scene.mask(*((target,) if isinstance(target, int) else target)) for target in turn.targets])
    answer = answer_about(masks, tuple(i / FPS for i in range(video.frames)), turn.answer)
    return replace(answer, sampling=replace(answer.sampling, source_fps=FPS, size=video.size))


def _marked(ids: NDArray[np.uint8], correction: Correct) -> int:
    for x, y, inside in reversed(correction.points):
        if inside:
            return int(ids[int(y), int(x)])
    if correction.box is None:
        raise MaskError("no positive mark", "one", "mark the object")
    x0, y0, x1, y1 = (int(side) for side in correction.box)
    found = ids[y0:y1, x0:x1]
    return int(np.bincount(found[found > 0]).argmax())


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of an ASGI application on a free port of this machine, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
