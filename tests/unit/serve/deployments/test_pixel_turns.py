"""A pixel replica and several videos, made here as Serve makes it there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import serve as ray_serve

from serve.backends.wire import Film, Grounding
from serve.contract import Watching
from serve.profile import Profile
from serve.setup import Setup
from tests import fakes
from vglamm import checkpoint
from vglamm.errors import VideoError
from vglamm.media import rle
from vglamm.media.limits import Limits
from vglamm.pixel import abreast
from vglamm.pixel.prepare import prepare
from vglamm.records import PixelInput

FRAMES = 10


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One for all tests: the queue of a batched method is of its class and of the first loop that used it. That of the class itself
    stays unused."""
    from ray.serve.batching import _BatchQueue

    from serve.deployments.pixel import Pixel, _work

    batched = ray_serve.batch(max_batch_size=32, batch_size_fn=lambda strides: sum(_work(stride) for stride in strides))
    with pytest.MonkeyPatch.context() as patched, asyncio.Runner() as runner:
        patched.setattr(Pixel, "turn", batched(Pixel.turn.__wrapped__))
        # It asks for the context of a replica, for nothing but a warning.
        patched.setattr(_BatchQueue, "_warn_if_max_batch_size_exceeds_max_ongoing_requests", lambda _: None)
        yield runner


@pytest.fixture
def replica(loop: asyncio.Runner, tmp_path: Path) -> Iterator[Any]:
    from serve.deployments.pixel import Pixel

    checkpoint.save(fakes.talker(), tmp_path / "model", tokenizer=fakes.tokenizer())
    setup = Setup((("model", str(tmp_path / "model")),), Profile("p", device="cpu"), str(tmp_path), Limits())
    pixel = Pixel(setup, SimpleNamespace(frames=None))  # type: ignore[arg-type]
    yield pixel
    pixel.station.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(frame, objects) of every step of SAM 2's memory."""
    seen: list[tuple[int, int]] = []
    step = abreast.Tracker.step

    def counted(self: abreast.Tracker, features: Any, index: int) -> Any:
        seen.append((index, len(self.prompts)))
        return step(self, features, index)

    monkeypatch.setattr(abreast.Tracker, "step", counted)
    return seen


def asked(replica: Any, shift: int, objects: int, *, mode: str = "video") -> tuple[list[PixelInput], Grounding]:
    config = replica.step.part.config
    video = [(frame.astype(np.int64) + 31 * shift).astype(np.uint8) for frame in fakes.video(FRAMES, 48, 64)]
    chunks = [prepare(np.stack(video[k : k + 4]), config, start=k) for k in range(0, FRAMES, 4)]
    prompts = np.random.default_rng(shift).normal(size=(objects, config.prompt_width)).astype(np.float32)
    return chunks, Grounding(Film("film", Watching()), FRAMES, mode, prompts)


async def tracked(replica: Any, chunks: list[PixelInput], task: Grounding) -> list[Any]:
    return [row async for rows in replica.ground(chunks, task) for row in rows]


def same(rows: list[Any], wanted: list[Any]) -> None:
    assert [k for k, _ in rows] == list(range(FRAMES)) == [k for k, _ in wanted]
    for (_, row), (_, own) in zip(rows, wanted, strict=True):
        assert [sight.score for sight in row] == pytest.approx([sight.score for sight in own], abs=1e-3)
        assert rle.iou([sight.rle for sight in row], [sight.rle for sight in own]).min() >= 0.98


def test_videos_that_come_together_share_batches_and_each_gets_its_own_rows(
    loop: asyncio.Runner, replica: Any, batches: list[tuple[int, int]]
) -> None:
    tasks = [asked(replica, shift, shift + 1) for shift in range(3)]

    async def both_ways() -> None:
        alone = [await tracked(replica, *task) for task in tasks]
        batches.clear()
        found = await asyncio.gather(*(tracked(replica, *task) for task in tasks))
        assert batches == [(frame, 6) for frame in range(FRAMES)]
        for rows, own in zip(found, alone, strict=True):
            same(rows, own)

    loop.run(both_ways())
    assert replica.station.gauge.load == 0


def test_who_comes_later_begins_with_others_that_came_later(
    loop: asyncio.Runner, replica: Any, batches: list[tuple[int, int]]
) -> None:
    tasks = [asked(replica, shift, 1) for shift in range(3)]

    async def one_before_the_others() -> None:
        first = replica.ground(*tasks[0])
        await anext(first)
        rest = asyncio.gather(*(tracked(replica, *task) for task in tasks[1:]))
        assert sum([len(rows) async for rows in first]) == FRAMES - 1
        await rest

    loop.run(one_before_the_others())
    assert sorted(batches) == sorted((frame, objects) for frame in range(FRAMES) for objects in (1, 2))
    last = max(at for at, (_, objects) in enumerate(batches) if objects == 1)
    assert {frame for frame, objects in batches[:last] if objects == 2} <= {0}, "only their first masks come before its end"


def test_a_bad_video_and_one_that_leaves_touch_no_other(loop: asyncio.Runner, replica: Any) -> None:
    good, (chunks, task), left = asked(replica, 0, 1), asked(replica, 1, 1), asked(replica, 2, 1)
    with_a_gap = [chunks[0], chunks[2], chunks[2]]

    async def three() -> None:
        alone = await tracked(replica, *good)
        leaving = replica.ground(*left)
        await anext(leaving)
        both = asyncio.gather(tracked(replica, *good), tracked(replica, with_a_gap, task), return_exceptions=True)
        await leaving.aclose()
        rows, error = await both
        same(rows, alone)
        assert isinstance(error, VideoError), error

    loop.run(three())
    assert replica.station.gauge.load == 0
