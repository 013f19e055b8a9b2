"""Questions of many clients at once: answers as alone, none disturbed by another's leaving or mistake."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from serve.backends.engine import Engine
from tests import fakes
from vglamm.errors import CheckpointError, DialogueError, WorkerLost
from vglamm.frames import choose, open_frames, vision_input
from vglamm.language.generate import RunningBatch
from vglamm.records import Reply
from vglamm.steps.language import Flight, LanguageStep
from vglamm.steps.vision import VisionStep

QUESTIONS = ("what?", "and who is it that moves here?", "a", "where is it?", "why?")


@pytest.fixture(scope="module")
def step() -> LanguageStep:
    return LanguageStep(fakes.talker().language, fakes.tokenizer())


@pytest.fixture(scope="module")
def tokens():
    source = open_frames(fakes.video(4), fps=4.0)
    given = vision_input(source, choose(source, fakes.config(), every_frame=True), fakes.config())
    return VisionStep(fakes.talker().vision)([given])[0]


@pytest.fixture
def engine(step):
    made = Engine(step, rows=3, tokens=10_000)
    yield made
    made.close()
    assert not made.thread.is_alive()


async def heard(engine: Engine, tokens, question: str, **options) -> list:
    return [event async for event in engine.ask((tokens, (), question), **options)]


async def everyone(engine: Engine, tokens, questions, *, errors: bool = False) -> list[list]:
    return await asyncio.gather(*(heard(engine, tokens, question) for question in questions), return_exceptions=errors)


def test_many_are_answered_as_one_by_one(engine, step, tokens):
    for question, events in zip(QUESTIONS, asyncio.run(everyone(engine, tokens, QUESTIONS)), strict=True):
        alone = list(step.stream((tokens, (), question)))
        assert events[-1].tokens == alone[-1].tokens
        assert "".join(event for event in events if isinstance(event, str)) == alone[-1].raw
        np.testing.assert_allclose(events[-1].prompts, alone[-1].prompts, atol=1e-4)


def test_no_more_ride_than_there_are_rows_and_tokens(step, tokens, monkeypatch):
    most: list[tuple[int, int]] = []
    advance = step.flight().__class__.advance
    monkeypatch.setattr(step.flight().__class__, "advance", lambda self: (most.append((len(self), self.tokens)), advance(self))[1])
    one = step.prepare((tokens, (), "what?")).tokens
    for rows, budget, ride in ((2, 10_000, 2), (8, 2 * one + 1, 2), (8, 1, 1)):
        most.clear()
        engine = Engine(step, rows=rows, tokens=budget)
        replies = asyncio.run(everyone(engine, tokens, ["what?"] * 5))
        engine.close()
        assert [events[-1].raw for events in replies] == [fakes.ANSWER] * 5
        assert max(count for count, _ in most) == ride


def test_a_mistake_is_told_to_who_made_it(engine, tokens):
    async def mixed():
        return await asyncio.gather(
            heard(engine, tokens, "what?"), heard(engine, tokens, " "), heard(engine, tokens, "why?"), return_exceptions=True
        )

    good, bad, other = asyncio.run(mixed())
    assert isinstance(bad, DialogueError)
    assert good[-1].raw == other[-1].raw == fakes.ANSWER


def test_who_leaves_stops_before_the_next_token_and_disturbs_nobody(engine, step, tokens):
    riding: list[int] = []
    asked, together, left = threading.Event(), threading.Event(), threading.Event()

    def ride(_: object, __: object, given: dict) -> None:
        riding.append(len(given["inputs_embeds"]))
        if len(riding) == 2:  # the first answer waits for the second question, and both for the first to be left
            asked.wait(60)
        if riding[-1] == 2 and not together.is_set():
            together.set()
            left.wait(60)

    handle = step.part.trunk.register_forward_pre_hook(ride, with_kwargs=True)

    async def leave() -> tuple[int, list]:
        stream = engine.ask((tokens, (), "what?"))
        await anext(stream)
        other = asyncio.ensure_future(heard(engine, tokens, "why?"))
        await asyncio.sleep(0)  # it asks
        asked.set()
        assert await asyncio.to_thread(together.wait, 60)
        await stream.aclose()
        count = len(riding)
        left.set()
        return count, await other

    try:
        count, rest = asyncio.run(leave())
    finally:
        handle.remove()
    assert rest[-1].raw == fakes.ANSWER
    assert len(riding) > count + 1
    assert set(riding[count + 1 :]) == {1}, "at most the token that was at work had company"


def test_a_token_that_fails_fails_those_that_ride_and_nobody_after_them(engine, tokens, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("vglamm.steps.language.Flight.advance", lambda self: 1 / 0)
        failed = asyncio.run(everyone(engine, tokens, QUESTIONS, errors=True))
    assert [type(error) for error in failed] == [WorkerLost] * len(QUESTIONS)
    assert asyncio.run(heard(engine, tokens, "what?"))[-1].raw == fakes.ANSWER


@pytest.mark.parametrize(
    ("owner", "method", "at"),
    [
        (LanguageStep, "prepare", lambda calls, given: calls == 2),
        (Flight, "join", lambda calls, given: calls == 2),
        (Flight, "_take", lambda calls, given: given[1] == 1),  # the key: when it has joined, but has no token yet
    ],
)
def test_a_question_that_cannot_be_read_fails_alone(engine, tokens, monkeypatch, owner, method, at):
    true, calls = getattr(owner, method), []

    def failing(*given, **options):
        calls.append(method)
        return 1 / 0 if at(len(calls), given) else true(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, method, failing)
        good, bad, other = asyncio.run(everyone(engine, tokens, ["what?", "where?", "why?"], errors=True))
    assert isinstance(bad, WorkerLost)
    assert good[-1].raw == other[-1].raw == fakes.ANSWER
    assert asyncio.run(heard(engine, tokens, "what?"))[-1].raw == fakes.ANSWER


def test_an_answer_whose_logits_are_no_numbers_ends_alone(engine, tokens, monkeypatch):
    true = RunningBatch.step

    def step(batch):
        return {
            key: [replace(token, logits=token.logits * (torch.nan if key == 1 else 1)) for token in tokens]
            for key, tokens in true(batch).items()
        }

    with monkeypatch.context() as patched:
        patched.setattr(RunningBatch, "step", step)
        good, bad, other = asyncio.run(everyone(engine, tokens, ["what?", "where?", "why?"], errors=True))
    assert isinstance(bad, CheckpointError)
    assert good[-1].raw == other[-1].raw == fakes.ANSWER


def test_what_one_step_tells_before_its_last_token_is_no_number_is_heard(engine, step, tokens, monkeypatch):
    """Both by who asks the step and by who asks the engine."""
    asked = (tokens, (("who?", fakes.ANSWER),), "again?")  # its words are guessed right, several a step
    whole = [event for event in step.stream(asked) if isinstance(event, str)]
    true = RunningBatch.step

    def damaged(batch):
        [(key, several)] = true(batch).items()
        last = several[-1]
        return {key: several if len(several) == 1 else [*several[:-1], replace(last, logits=last.logits * torch.nan)]}

    async def collected(events):
        told = []
        with pytest.raises(CheckpointError, match="logits of nan"):
            [told.append(event) async for event in events]
        return [event for event in told if isinstance(event, str)]

    async def stream():
        for event in step.stream(asked):
            yield event

    monkeypatch.setattr(RunningBatch, "step", damaged)
    for events in (stream(), engine.ask(asked)):
        told = asyncio.run(collected(events))
        assert len(told) >= 2, "the first token, and at least one of the step that failed"
        assert told == whole[: len(told)]


@pytest.fixture
def go_on(step) -> Iterator[threading.Event]:
    """Until it is set the language part stands at its token."""
    event = threading.Event()

    def wait(*_: object) -> None:
        event.wait(60)

    handle = step.part.trunk.register_forward_pre_hook(wait)
    yield event
    event.set()
    handle.remove()


def test_draining_ends_with_the_last_answer(step, tokens, go_on):
    engine = Engine(step, rows=1, tokens=10_000)

    async def drained() -> list[list]:
        """Of three, one rides, one waits, and one comes while the engine drains."""
        early = [asyncio.ensure_future(heard(engine, tokens, question)) for question in QUESTIONS[:2]]
        await asyncio.sleep(0)  # they ask
        end = asyncio.ensure_future(asyncio.to_thread(engine.drain))
        late = asyncio.ensure_future(heard(engine, tokens, QUESTIONS[2]))
        await asyncio.sleep(0)
        go_on.set()
        replies = await asyncio.wait_for(asyncio.gather(*early, late), 120)
        await end
        return replies

    assert all(isinstance(events[-1], Reply) for events in asyncio.run(drained()))
    assert not engine.thread.is_alive()
    engine.drain()
    with pytest.raises(WorkerLost):
        asyncio.run(heard(engine, tokens, "what?"))


def test_who_asks_behind_the_end_is_told(step, tokens, monkeypatch, go_on):
    """The thread is at a token, the end lies in its inbox, and a question comes."""
    engine = Engine(step, rows=1, tokens=10_000)

    async def ended() -> list:
        first = asyncio.ensure_future(heard(engine, tokens, "what?"))
        await asyncio.sleep(0)  # it asks
        with monkeypatch.context() as patched:
            patched.setattr(engine.thread, "join", lambda: None)
            engine.close()
        last = asyncio.ensure_future(heard(engine, tokens, "why?"))
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.wait_for(asyncio.gather(first, last, return_exceptions=True), 120)

    assert [type(error) for error in asyncio.run(ended())] == [WorkerLost] * 2
    engine.thread.join()


def test_closing_fails_what_is_not_answered(step, tokens):
    engine = Engine(step, rows=1, tokens=10_000)

    async def closed():
        stream = engine.ask((tokens, (), "what?"))
        await anext(stream)
        engine.close()
        return [event async for event in stream]

    try:
        events = asyncio.run(closed())
    except WorkerLost:
        return
    assert isinstance(events[-1], Reply), "it was faster than the closing"
