"""The deployments of the parts, made here as their replicas make them there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ray import serve as ray_serve

from serve.backends.wire import Asked, Film, Header, Look, Watched
from serve.contract import Watching, Writing
from serve.profile import Profile
from serve.setup import Setup
from tests import fakes
from vglamm import checkpoint
from vglamm.errors import WorkerLost
from vglamm.media.limits import Limits
from vglamm.records import Reply, Sampling, VisionInput, VisualTokens
from vglamm.walk import load

if TYPE_CHECKING:
    from serve.deployments.language import Language


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is stored in float16, as the shipped one is."""
    folder = tmp_path_factory.mktemp("half")
    checkpoint.save(fakes.talker(), folder, tokenizer=fakes.tokenizer(), dtype="float16")
    return folder


@pytest.fixture
def setup(half: Path, tmp_path: Path) -> Setup:
    return Setup((("half", str(half)),), Profile("p", device="cpu"), str(tmp_path), Limits())


@pytest.fixture
def language(setup: Setup) -> Iterator[Language]:
    from serve.deployments.language import Language

    made = Language(setup)
    yield made
    made.own.engine.close()


@pytest.fixture
def steps(setup: Setup, language: Language) -> dict[str, Any]:
    from serve.deployments.pixel import Pixel
    from serve.deployments.vision import Vision

    vision, pixel = Vision(setup), Pixel(setup, None)  # type: ignore[arg-type]
    return {"vision": vision.step, "language": language.own.engine.step, "pixel": pixel.step}


async def written(language: Language) -> list[Any]:
    tokens = VisualTokens(np.zeros((1, language.own.engine.step.part.config.width), np.float32), 0)
    header = Header(Sampling((0,), (0.0,), (0,), (0.0,), 1, 0.0, (4, 4)), 0.0, {})
    asked = Asked("what?", (), Writing(max_new_tokens=4))
    return [told async for piece in language.write(Watched(tokens, header), asked) for told in piece]


def test_each_part_computes_on_a_cpu_as_the_walk_does_whatever_its_weights_are_stored_in(steps: dict[str, Any], half: Path) -> None:
    walk = load(half)
    assert {name: step.dtype for name, step in steps.items()} == dict.fromkeys(steps, torch.float32)
    side = walk.config.vision.spatial.image_size
    given = [VisionInput(np.full((1, 3, side, side), 99, np.uint8), None)]
    assert np.array_equal(steps["vision"](given)[0].tokens, walk.vision(given)[0].tokens)


def test_vision_keeps_the_tokens_of_a_session_for_its_film_alone(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.deployments.vision import Vision

    vision, batched = Vision(setup), Vision.together.__wrapped__

    async def alone(look: Look) -> Watched:
        """Without Serve's queue, which needs a replica."""
        [watched] = await batched(vision, [look])
        return watched

    monkeypatch.setattr(Vision, "together", staticmethod(alone))
    monkeypatch.setattr(ray_serve, "get_replica_context", lambda: SimpleNamespace(replica_id=SimpleNamespace(unique_id="r7")))
    side = vision.config.vision.spatial.image_size
    header = Header(Sampling((0,), (0.0,), (0,), (0.0,), 1, 0.0, (4, 4)), 0.0, {})
    look = Look(VisionInput(np.full((1, 3, side, side), 99, np.uint8), None), header)
    film, other = Film("v", Watching()), Film("w", Watching())

    async def walk() -> None:
        await vision.see(look)
        assert not len(vision.kept), "nobody asked for it"
        assert not await vision.holds("s", film)
        watched = await vision.see(look, "s", film)
        assert await vision.holds("s", film)
        again = await vision.recall("s", film)
        assert np.array_equal(again.tokens.tokens, watched.tokens.tokens)
        assert again.tokens.tokens.base is None, "a view would hold all videos of its pass"
        assert again.header.place == watched.header.place == "r7"
        assert vision.kept.bytes == watched.tokens.tokens.nbytes > 0
        assert [await vision.holds("s", other), await vision.holds("t", film)] == [False, False]
        for gone in (("s", other), ("t", film)):
            with pytest.raises(WorkerLost, match="tokens of session"):
                await vision.recall(*gone)
        with monkeypatch.context() as patched:
            patched.setattr(ray_serve, "get_multiplexed_model_id", lambda: "another model")
            assert not await vision.holds("s", film)
        await vision.forget("s")
        assert not await vision.holds("s", film)

    asyncio.run(walk())


def test_a_question_is_measured_beside_the_loop(language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    step, places = language.own.engine.step, []
    length = step.length

    def measured(asked: Any) -> int:
        places.append(threading.current_thread())
        return length(asked)

    monkeypatch.setattr(step, "length", measured)
    header, *_, reply = asyncio.run(written(language))
    assert header.read == length((VisualTokens(np.zeros((1, step.part.config.width), np.float32), 0), (), "what?"))
    assert len(reply.tokens) == 4
    assert places
    assert threading.main_thread() not in places


def test_a_model_that_is_unloaded_writes_its_answers_to_the_end(language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = language.own.engine
    at_work, told, join = threading.Event(), threading.Event(), engine.thread.join

    def stand(*_: object) -> None:
        at_work.set()
        told.wait(60)

    def joined() -> None:
        told.set()  # before it waits for the thread it has told it to end
        join()

    monkeypatch.setattr(engine.thread, "join", joined)
    engine.step.part.trunk.register_forward_pre_hook(stand)

    async def unloaded() -> list[Any]:
        writing = asyncio.ensure_future(written(language))
        assert await asyncio.to_thread(at_work.wait, 60)
        await asyncio.to_thread(language.own.__del__)  # as Serve does
        return await writing

    assert isinstance(asyncio.run(unloaded())[-1], Reply)
    assert not engine.thread.is_alive()
