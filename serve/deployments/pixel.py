"""Grounding frames and prompts -> sights, frame by frame."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from serve.backends.failures import RAISED, told
from serve.backends.wire import Begun, Grounding
from serve.deployments.feed import Feed
from serve.deployments.station import OTHERS, Station
from serve.deployments.turns import Turns
from serve.setup import Setup
from serve.tracking import weights
from vglamm.pixel.footage import Ahead
from vglamm.pixel.sight import Row
from vglamm.records import PixelInput
from vglamm.steps.pixel import PixelStep, PixelTask, Rows, together

BEGUN = 4
"""Videos of which a replica keeps features that nobody has asked for yet, at most."""
AHEAD = 2
"""Turns of a video whose rows its client has not taken yet, at most."""
AGE = 16.0
"""Frames x objects that a second of waiting is worth, when it is asked whose turn it is."""


@dataclass
class Stride:
    """The next frames of one video. stop: set when nobody wants them any more."""

    rows: Rows
    frames: int
    objects: int
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Turn:
    """What a stride gave. over: there are no more."""

    rows: list[Row]
    over: bool
    error: BaseException | None = None


@dataclass
class Track:
    """A video on its way. left: frames x objects to do. most: frames in a turn after the first. alike: the same for those that may
    share a batch. ahead: turns that may be taken before their rows are fetched. turns: what they gave, None at the end."""

    stride: Stride
    left: int
    most: int
    alike: str
    ahead: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AHEAD))
    turns: asyncio.Queue[Turn | None] = field(default_factory=asyncio.Queue)


class Pixel:
    """Tracks several videos by turns of some frames, so that no short one waits for the end of a long one. After the first frame,
    whose mask is soon there, it is the turn of the one that has the least left, and of all that are at the same frame, which share
    a batch: those that came meanwhile begin together when it has ended. Grounding frames come from decode, a window ahead."""

    def __init__(self, setup: Setup, decode: DeploymentHandle) -> None:
        self.setup, self.decode, self.station = setup, decode, Station(setup.profile, setup.profile.pixel)
        self.step = self._load("")
        self.station.stand_back()
        self.begun: OrderedDict[str, Ahead] = OrderedDict()
        self.turns = Turns(setup.profile.pixel.batch)
        self.turn.set_max_batch_size(setup.profile.pixel.batch)
        self.turn.set_batch_wait_timeout_s(0.0)  # whose turn it is comes at the same time

    async def begin(self, first: list[PixelInput]) -> Begun | None:
        """Make features of a video's first frames while its text is still being written, if there is nothing else to do."""
        if self.station.gauge.load:
            return None
        name = ray_serve.get_multiplexed_model_id()
        step = await self.other(name) if name else self.step
        frames = min(sum(len(chunk.frames) for chunk in first), 1 + step.part.config.chunk)
        begun = Begun(ray_serve.get_replica_context().replica_id.unique_id, uuid4().hex)
        self.begun[begun.name] = await self.station.count(frames, step.ahead, first)
        while len(self.begun) > BEGUN:
            self.begun.popitem(last=False)
        return begun

    async def ground(self, first: list[PixelInput] | None, task: Grounding) -> AsyncGenerator[list[Row], None]:
        """Rows as of :class:`vglamm.steps.pixel.PixelStep`, in as many pieces as it takes; the first holds one row. first: the
        first window of frames if it is there, else it is fetched."""
        name = ray_serve.get_multiplexed_model_id()
        step = await self.other(name) if name else self.step
        feed = Feed(self.decode, task.film, first, self.setup.profile.window, name)
        left, objects = task.frames * task.objects, task.objects
        ahead = None if task.begun is None else self.begun.get(task.begun.name)
        if task.begun is not None and not task.early:
            self.begun.pop(task.begun.name, None)
        stride = Stride(_rows(step, feed, task, ahead), 1, objects)
        self.station.gauge.take(left)
        alike = name if task.marks is None and task.mode == "video" else uuid4().hex
        track = Track(stride, left, min(step.part.config.chunk, self.setup.profile.pixel.batch // objects), alike)
        tracking = asyncio.create_task(self._track(track))
        try:
            while (turn := await track.turns.get()) is not None:
                track.ahead.release()
                if turn.error is not None:
                    raise turn.error
                left -= len(turn.rows) * objects
                self.station.gauge.done(len(turn.rows) * objects)
                if turn.rows:
                    yield turn.rows
                if turn.over:
                    if task.begun is not None:
                        self.begun.pop(task.begun.name, None)
                    return
            await tracking  # it raised
        finally:
            stride.stop.set()
            tracking.cancel()
            self.station.gauge.done(left)
            self.station.worker.submit(feed.close)

    async def _track(self, track: Track) -> None:
        """One turn after the other until all rows are there. Between two it waits for nothing but a client that is slower."""
        came, done, left, stride = AGE * time.monotonic(), 0, track.left, track.stride
        try:
            while True:
                await track.ahead.acquire()
                async with self.turns.turn(_work(stride), came + left if done else 0.0, (track.alike, done)):
                    turn: Turn = await self.turn(stride)
                track.turns.put_nowait(turn)
                if turn.over:
                    return
                done, left = done + len(turn.rows), left - len(turn.rows) * stride.objects
                stride = replace(stride, frames=max(1, track.most))
        finally:
            track.turns.put_nowait(None)

    @ray_serve.batch(max_batch_size=32, batch_size_fn=lambda strides: sum(_work(stride) for stride in strides))
    async def turn(self, strides: list[Stride]) -> list[Turn]:
        """A stride of each, of as many frames x objects as ``batch`` says."""
        return await self.station.run(_advance, strides, self.setup.profile.retry_after)

    @ray_serve.multiplexed(max_num_models_per_replica=OTHERS)
    async def other(self, name: str) -> PixelStep:
        return await asyncio.to_thread(self._load, name)

    def _load(self, name: str) -> PixelStep:
        source = weights(self.setup.source(name), self.setup.registry)
        return PixelStep.load(source, device=self.station.device, dtype=self.setup.profile.dtype)

    async def where(self) -> dict[str, Any]:
        return self.station.where()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self.station.gauge.told()

    async def check_health(self) -> None:
        """One object on one black frame."""
        if not self.station.proved:
            config = self.step.part.config
            frame = PixelInput(np.zeros((1, 3, 32, 32), np.uint8), (32, 32))
            task = PixelTask([frame], np.zeros((1, config.prompt_width), np.float32), 1)
            await self.station.run(lambda: list(self.step.stream(task)))

    def __del__(self) -> None:
        self.station.close()


def _rows(step: PixelStep, feed: Feed, task: Grounding, ahead: Ahead | None) -> Rows:
    if task.marks is not None:
        return step.correct(feed, task.frames, task.marks)
    assert task.prompts is not None, "prompts or marks"
    return step.stream(PixelTask(feed, task.prompts, task.frames, task.mode, ahead))


def _work(stride: Stride) -> int:
    """Frames x objects; one frame of very many objects counts as what fits at most."""
    return 1 if stride.frames == 1 else stride.frames * stride.objects


def _advance(strides: list[Stride], retry_after: float) -> list[Turn]:
    """A frame of each that has not had its share, then the next: those at the same frame go through memory in one batch. What goes
    wrong with one video is told to its own client."""
    turns = [Turn([], False) for _ in strides]
    while going := [at for at, turn in enumerate(turns) if _goes_on(strides[at], turn)]:
        ready = []
        for at in going:
            try:
                if strides[at].rows.fetch():
                    ready.append(at)
                else:
                    turns[at] = replace(turns[at], over=True)
            except RAISED as error:
                turns[at] = replace(turns[at], over=True, error=told(error, retry_after))
        for at, row in zip(ready, together([strides[at].rows for at in ready]), strict=True):
            turns[at].rows.append(row)
    return turns


def _goes_on(stride: Stride, turn: Turn) -> bool:
    return not turn.over and len(turn.rows) < stride.frames and not stride.stop.is_set()
