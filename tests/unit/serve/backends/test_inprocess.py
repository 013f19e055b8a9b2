"""The backend of one process: the events of the contract, sessions, cancelling."""

import asyncio
import subprocess
import sys
import threading

import pytest

from serve.backends.inprocess import InProcess, pumped
from serve.backends.kept import Bounds
from serve.contract import Ask, Correct, Done, PhraseFound, Seen, Text, Watching, Writing
from tests import fakes
from vglamm.errors import ConfigError, DialogueError, MaskError, ModelUnknown, VideoNotFound, WorkerLost

ALL = Watching(every_frame=True)


def heard(backend, ask: Ask) -> list:
    async def listen() -> list:
        return [event async for event in backend.stream(ask)]

    return asyncio.run(listen())


def test_events_come_in_the_order_of_the_contract_and_end_with_the_walks_answer(backend, walk, spool):
    events = heard(backend, Ask("clip.mp4", "what?", ALL, source="upload"))
    kinds = [type(event) for event in events]
    told = [event for event in events if isinstance(event, PhraseFound)]
    seen = [event for event in events if isinstance(event, Seen)]
    done = events[-1]
    assert isinstance(done, Done)
    assert kinds == sorted(kinds, key=lambda kind: (kind is Seen) + 2 * (kind is Done))
    assert "".join(event.piece for event in events if isinstance(event, Text)) == fakes.ANSWER
    assert told == [PhraseFound(0, "a cat"), PhraseFound(1, "a dog")]
    assert events[events.index(told[0]) - 1].piece.endswith("[SEG]")
    own = walk.ask(spool / "clip.mp4", "what?", every_frame=True)
    assert [(event.position, event.time) for event in seen] == list(enumerate(own.sampling.grounding_times))
    assert [[sight.rle for sight in event.sights] for event in seen] == [
        list(row) for row in zip(*(t.rle for t in own.tracks), strict=True)
    ]
    assert (done.answer.text, done.answer.tracks, done.answer.source) == (own.text, own.tracks, "upload")
    assert 0 < done.first_token_s < done.first_mask_s


def test_a_moment_ends_with_the_span_that_was_asked_about(backend, walk, spool):
    answer = heard(backend, Ask("clip.mp4", "what?", Watching(every_frame=True, limit=3, end=1.0)))[-1].answer
    assert answer.moments == walk.ask(spool / "clip.mp4", "what?", every_frame=True, limit=3, end=1.0).moments
    assert answer.moments[0][1] == 1.0


def test_a_further_question_does_not_see_the_video_again(backend, walk):
    runs: list[int] = []
    handle = walk.vision.part.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        first = heard(backend, Ask("clip.mp4", "what?", ALL, session="s"))[-1].answer
        turns = (("what?", first.raw),)
        second = heard(backend, Ask("clip.mp4", "and?", ALL, session="s", history=turns))[-1].answer
        assert runs == [1]
        lost = InProcess({"fake": walk}, backend.films.spool)
        rebuilt = heard(lost, Ask("clip.mp4", "and?", ALL, session="s", history=turns))[-1].answer
        lost.close()
        assert runs == [1, 1]
        asyncio.run(backend.forget("s"))
        heard(backend, Ask("clip.mp4", "and?", ALL, session="s", history=turns))
        heard(backend, Ask("clip.mp4", "and?", Watching(fps=2.0), session="s", history=turns))
        assert runs == [1, 1, 1, 1]
    finally:
        handle.remove()
    assert (second.raw, second.tracks) == (rebuilt.raw, rebuilt.tracks)


def test_sessions_are_bounded(walk, spool):
    backend = InProcess({"fake": walk}, str(spool), bounds=Bounds(sessions=2))
    for name in "abc":
        heard(backend, Ask("clip.mp4", "what?", ALL, Writing(max_new_tokens=1), session=name))
    assert [backend.kept.get(name) is not None for name in "abc"] == [False, True, True]
    backend.close()


@pytest.mark.parametrize("until", [Text, Seen])
def test_closing_a_stream_stops_it_within_one_token_or_frame(backend, walk, until):
    """After the consumer left, at most the item that was at work is finished."""
    steps: list[str] = []
    hooks = [
        walk.language.part.trunk.register_forward_pre_hook(lambda *_: steps.append("token")),
        walk.pixel.part.sam.memory_encoder.register_forward_pre_hook(lambda *_: steps.append("frame")),
    ]

    async def leave() -> int:
        stream = backend.stream(Ask("clip.mp4", "what?", ALL))
        async for event in stream:
            if isinstance(event, until):
                break
        count = len(steps)
        await stream.aclose()
        await backend.forget("the worker is idle once this ran")
        while backend.engines["fake"]._riding:
            await asyncio.sleep(0.01)
        return len(steps) - count

    try:
        assert asyncio.run(leave()) <= 1
    finally:
        for hook in hooks:
            hook.remove()
    assert heard(backend, Ask("clip.mp4", "what?", ALL))[-1].answer.raw == fakes.ANSWER


def test_streams_take_turns(backend):
    async def both() -> list[str]:
        order: list[str] = []

        async def listen(name: str) -> None:
            async for _ in backend.stream(Ask("clip.mp4", "what?", ALL)):
                order.append(name)

        await asyncio.gather(listen("a"), listen("b"))
        return order

    order = asyncio.run(both())
    assert order.index("b") < len(order) - 1 - order[::-1].index("a")


def test_a_cancelled_wait_closes_the_iterator_after_its_item():
    from concurrent.futures import ThreadPoolExecutor

    entered, release, closed = threading.Event(), threading.Event(), threading.Event()

    def items():
        try:
            entered.set()
            release.wait(30)
            yield 1
            raise AssertionError("asked for another item")
        finally:
            closed.set()

    async def cancel() -> None:
        stream = pumped(items(), worker)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.get_running_loop().run_in_executor(None, entered.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not closed.is_set()
        release.set()

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(cancel())
    assert closed.is_set()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (Ask("none.mp4", "what?"), VideoNotFound),
        (Ask("clip.mp4", " "), DialogueError),
        (Ask("clip.mp4", "what?", model="other"), ModelUnknown),
        (Ask("clip.mp4", "what?", Watching(mode="best")), ConfigError),
    ],
)
def test_what_cannot_be_answered_raises_its_own_error(backend, ask, error):
    with pytest.raises(error):
        heard(backend, ask)


def test_a_video_is_examined(backend):
    facts = asyncio.run(backend.probe("clip.mp4"))
    assert (facts.size, facts.frames, facts.fps, facts.is_image) == ((48, 64), 12, pytest.approx(6.0), False)
    assert asyncio.run(backend.models()) == ("fake",)
    assert asyncio.run(backend.ready())
    with pytest.raises(VideoNotFound):
        asyncio.run(backend.probe("none.mp4"))


def test_a_check_tries_each_part_and_sees_that_one_is_gone(backend, walk):
    tried = []
    parts = (walk.vision.part, walk.language.part.trunk, walk.pixel.part.sam.image_encoder)
    hooks = [part.register_forward_pre_hook(lambda module, _: tried.append(module)) for part in parts]
    try:
        asyncio.run(backend.check())
    finally:
        for hook in hooks:
            hook.remove()
    assert set(tried) == set(parts)
    backend.engines["fake"].close()
    with pytest.raises(WorkerLost):
        asyncio.run(backend.check())


def test_the_contract_needs_neither_torch_nor_ray():
    code = "import sys, serve.contract; sys.exit(bool({'torch', 'ray', 'fastapi', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_correction_shows_the_marked_frame_first_with_the_masks_of_all_tracks(backend):
    ask = Ask("clip.mp4", "what?", ALL, source="upload")
    answer = heard(backend, ask)[-1].answer

    async def listen(correction: Correct) -> list:
        return [event async for event in backend.correct(correction)]

    events = asyncio.run(listen(Correct(ask, answer, 1, 4, ((30.0, 20.0, True),))))
    done = events[-1]
    assert [event.position for event in events[:-1]] == [4, 5, 6, 7, 8, 9, 10, 11, 3, 2, 1, 0]
    assert isinstance(done, Done)
    assert done.answer.source == "upload"
    assert done.answer.tracks[0] == answer.tracks[0] != done.answer.tracks[1]
    assert all(event.sights == done.answer.sights(event.position) for event in events[:-1])
    assert done.first_mask_s > 0
    with pytest.raises(MaskError):
        asyncio.run(listen(Correct(ask, answer, 1, 4)))
