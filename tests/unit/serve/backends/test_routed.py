"""The walk over deployments, with deployments that do as a test says: what is passed on, what is told twice, what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError

from serve.backends.early import ROWS as WAITING
from serve.backends.early import Declined, Early
from serve.backends.retry import Retry
from serve.backends.routed import FEW
from serve.backends.wire import Begun, Cue
from serve.contract import Ask, Correct, Done, PhraseFound, Seen, Text, Watching
from tests.unit.serve.parts import (
    ASK,
    FRAMES,
    LOST,
    PIECES,
    PROMPTS,
    REPLY,
    RLE,
    ROWS,
    WRITTEN,
    Part,
    heard,
    routed,
)
from vglamm.errors import ModelUnknown, Overloaded, VideoTooLarge, WorkerLost
from vglamm.records import Phrase, Reply


def test_frames_for_pixel_are_asked_for_at_once_and_everything_goes_by_reference():
    backend, handles = routed()
    events = heard(backend, ASK)
    assert [type(event) for event in events] == [Text, PhraseFound, *[Seen] * FRAMES, Done]
    assert handles.decode.asked[0][0] == "frames", "before look: it overlaps vision and language"
    [(_, look)] = [given for given in handles.vision.asked]
    assert look.name == "decode.look"
    [(_, watched, _)] = handles.language.asked
    assert watched.name == "vision.see"
    [(_, first, task)] = handles.pixel.asked
    assert first is handles.decode.given[0]
    assert (task.frames, task.mode) == (FRAMES, "video")
    answer = events[-1].answer
    assert (answer.text, answer.source, answer.model, answer.tracks[0].rle) == ("it", "upload", "fake@0", (RLE,) * FRAMES)
    assert (answer.timings["decode"], answer.timings["vision"]) == (2.0, 3.0)
    assert (events[-1].read_tokens, events[-1].written_tokens) == (40, 2)


def test_pixel_begins_before_there_are_prompts_and_goes_on_where_it_began():
    pixel = Part("pixel", [[ROWS[0]], list(ROWS[1:])], begun=Begun("replica", "work"))
    backend, _ = routed(pixel=pixel)
    heard(backend, ASK)
    [(_, _, task)] = pixel.asked
    assert task.begun == Begun("replica", "work")
    assert {"stream": True, "session_id": "replica"} in pixel.chosen


@pytest.mark.parametrize("begun", [None, LOST, BackPressureError(num_queued_requests=1, max_queued_requests=1)])
def test_what_could_not_be_begun_ahead_is_done_when_it_is_asked_for(begun: Any):
    pixel = Part("pixel", [[ROWS[0]], list(ROWS[1:])], begun=begun)
    backend, _ = routed(pixel=pixel)
    assert [type(event) for event in heard(backend, ASK)] == [Text, PhraseFound, *[Seen] * FRAMES, Done]
    [(_, _, task)] = pixel.asked
    assert task.begun is None
    assert {"stream": True} in pixel.chosen


CUED = [[WRITTEN[0]], [*WRITTEN[1:3], Cue(PROMPTS)], [Text("."), REPLY]]


def test_tracking_begins_with_the_phrase_and_goes_on_when_it_was_the_last():
    pixel = Part("pixel", [[ROWS[0]], list(ROWS[1:])], begun=Begun("replica", "work"))
    backend, _ = routed(Part("language", CUED), pixel)
    events = heard(backend, ASK)
    assert [type(event) for event in events] == [Text, PhraseFound, Text, *[Seen] * FRAMES, Done]
    [(_, _, task)] = pixel.asked
    assert task.early
    assert (task.begun, task.frames, task.mode) == (Begun("replica", "work"), FRAMES, "video")
    assert np.array_equal(task.prompts, PROMPTS)
    assert events[-1].answer.tracks[0].rle == (RLE,) * FRAMES


def test_another_phrase_begins_the_tracking_anew():
    """Also where the text ends with other prompts than the last that was told."""
    two = np.stack([PROMPTS[0], 2 * PROMPTS[0]])
    reply = Reply("<p>a</p>[SEG]<p>b</p>[SEG]", "ab", (Phrase("a", 0, 1, 0), Phrase("b", 1, 2, 1)), two, (5, 6), "stop")
    both = [[(k, [*sights, *sights]) for k, sights in ROWS]]
    for cues, early in (([Cue(PROMPTS), Cue(two)], True), ([Cue(PROMPTS)], False)):
        pixel = Part("pixel", [list(ROWS)], both, begun=Begun("replica", "work"))
        pieces = [[WRITTEN[0]], *[[cue] for cue in cues], [Text(reply.raw), reply]]
        backend, _ = routed(Part("language", [pieces[0], *[[Text("."), *piece] for piece in pieces[1:]]]), pixel)
        assert len(heard(backend, ASK)[-1].answer.tracks) == 2
        tasks = [task for _, _, task in pixel.asked]
        assert [len(task.prompts) for task in tasks] == [1, 2]
        assert [task.early for task in tasks] == [True, early]
        assert pixel.given[0].cancelled


def test_what_fails_early_is_told_and_what_pixel_has_no_time_for_is_done_later():
    lost = Part("pixel", [LOST], begun=Begun("replica", "work"))
    backend, _ = routed(Part("language", CUED), lost)
    with pytest.raises(WorkerLost):
        heard(backend, ASK)
    assert len(lost.asked) == 2
    busy = Part("pixel", [list(ROWS)], begun=None)
    backend, _ = routed(Part("language", CUED), busy)
    assert len(heard(backend, ASK)[-1].answer.tracks) == 1
    [(_, _, task)] = busy.asked
    assert not task.early


def test_an_early_tracking_waits_for_its_reader():
    """A client that reads slowly holds up what it reads: no more rows wait than Early allows."""
    made = 0

    async def rows(prompts: Any):
        nonlocal made
        for k in range(10 * WAITING):
            made += 1
            yield (k, ROWS[0][1])

    async def read() -> None:
        early = Early(rows)
        await early.cue(PROMPTS)
        for _ in range(20 * WAITING):
            await asyncio.sleep(0)
        assert WAITING <= made <= WAITING + 1
        found = [row[0] async for row in early.rows(PROMPTS)]
        assert found == list(range(10 * WAITING))
        await early.stop()
        with pytest.raises(Declined):
            await anext(early.rows(PROMPTS))

    asyncio.run(read())


@pytest.mark.parametrize("alone", [True, False])
def test_who_leaves_ends_an_early_tracking(alone: bool):
    pixel = Part("pixel", [[ROWS[0]], list(ROWS[1:])], begun=Begun("replica", "work") if alone else None)
    backend, handles = routed(Part("language", CUED), pixel)

    async def leave() -> None:
        stream = backend.stream(ASK)
        async for event in stream:
            if isinstance(event, Text) and event.piece == ".":
                while not (pixel.asked if alone else pixel.begins):  # it has begun, or has been told that it may not
                    await asyncio.sleep(0)
                break
        await stream.aclose()

    asyncio.run(leave())
    assert bool(pixel.asked) is alone
    assert all(response.cancelled for response in (*handles.decode.given, *pixel.given))


def test_where_many_ask_nothing_is_begun_ahead():
    backend, handles = routed()

    async def ask() -> None:
        await asyncio.gather(*(_all(backend.stream(ASK)) for _ in range(2 * FEW)))

    asyncio.run(ask())
    assert len(handles.pixel.begins) == FEW
    assert backend.asked == 0


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


def test_a_lost_language_replica_is_asked_once_more_and_nothing_is_told_twice():
    backend, handles = routed(Part("language", [[*WRITTEN[:2]], LOST], PIECES))
    assert [type(event) for event in heard(backend, ASK)] == [Text, PhraseFound, *[Seen] * FRAMES, Done]
    assert len(handles.vision.asked) == len(handles.language.asked) == 2


def test_another_text_than_before_is_given_up():
    other = [[WRITTEN[0], Text("another"), *WRITTEN[2:]]]
    backend, _ = routed(Part("language", [[*WRITTEN[:2]], LOST], other))
    with pytest.raises(WorkerLost, match="another text"):
        heard(backend, ASK)


def test_a_lost_pixel_replica_is_asked_once_more_without_the_first_window():
    backend, handles = routed(pixel=Part("pixel", [[ROWS[0]], [ROWS[1]], LOST], [[ROWS[0]], list(ROWS[1:])]))
    seen = [event.position for event in heard(backend, ASK) if isinstance(event, Seen)]
    assert seen == [0, 1, 2, 3]
    assert [given[1] is None for given in handles.pixel.asked] == [False, True]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (LOST, WorkerLost),
        (BackPressureError(5, 4), Overloaded),
        (RayTaskError("look", "a traceback", VideoTooLarge("a", "b", "c")).as_instanceof_cause(), VideoTooLarge),
    ],
)
def test_what_does_not_go_away_is_told(failure, kind):
    backend, handles = routed(Part("language", [failure]))
    with pytest.raises(kind) as caught:
        heard(backend, ASK)
    assert type(caught.value) is kind
    assert len(handles.language.asked) == (2 if kind is WorkerLost else 1)
    if kind is Overloaded:
        assert caught.value.retry_after == 7.0
    assert all(response.cancelled for response in handles.decode.given)


def test_a_session_keeps_a_reference_and_is_made_again_when_that_is_lost():
    backend, handles = routed(Part("language", PIECES, PIECES, [LOST], PIECES))
    asked = Ask("v", "what?", Watching(every_frame=True), session="s")
    first, second = heard(backend, asked)[-1].answer, heard(backend, asked)[-1].answer
    assert len(handles.vision.asked) == 1
    assert handles.language.asked[1][1] == "ref of vision.see"
    assert (first.timings["vision"], second.timings["vision"]) == (3.0, 0.0)
    assert heard(backend, asked)[-1].answer.timings["vision"] == 3.0, "the reference was lost with a replica"
    assert len(handles.vision.asked) == 2
    assert len(backend.seen.kept) == 1
    heard(backend, Ask("w", "what?", Watching(every_frame=True), session="s"))
    assert len(handles.vision.asked) == 3, "another video"
    asyncio.run(backend.forget("s"))
    assert len(backend.seen.kept) == 0


def test_without_a_phrase_nothing_is_tracked():
    bare = Reply("no", "no", (), np.zeros((0, 4), np.float32), (5,), "stop")
    backend, handles = routed(Part("language", [[WRITTEN[0]], [Text("no"), bare]]))
    events = heard(backend, ASK)
    assert [type(event) for event in events] == [Text, Done]
    assert events[-1].first_mask_s is None
    assert not handles.pixel.asked
    assert handles.decode.given[0].cancelled, "nobody wants the frames that were decoded ahead"


@pytest.mark.parametrize("kind", [Text, Seen])
def test_who_leaves_cancels_what_is_at_work(kind):
    backend, handles = routed()

    async def leave() -> None:
        stream = backend.stream(ASK)
        async for event in stream:
            if isinstance(event, kind):
                break
        await stream.aclose()

    asyncio.run(leave())
    assert all(response.cancelled for response in (*handles.decode.given, *handles.language.given, *handles.pixel.given))
    assert bool(handles.pixel.asked) == (kind is Seen)


def test_a_correction_tracks_one_object_and_shows_all():
    order = (ROWS[2], ROWS[3], ROWS[1], ROWS[0])
    backend, handles = routed(pixel=Part("pixel", [[ROWS[0]], list(ROWS[1:])], [[order[0]], list(order[1:])]))
    answer = heard(backend, ASK)[-1].answer

    async def listen() -> list[Any]:
        return [event async for event in backend.correct(Correct(ASK, answer, 0, 2, ((1.0, 1.0, True),)))]

    events = asyncio.run(listen())
    assert [event.position for event in events[:-1]] == [2, 3, 1, 0]
    assert events[-1].answer.warnings[-1] == "the mask of 'it' was corrected by hand on grounding frame 2"
    task = handles.pixel.asked[-1][2]
    assert (task.marks.before, task.marks.points, task.objects) == (RLE, ((1.0, 1.0, True),), 1)


def test_a_model_that_is_not_served_is_refused_before_anything_is_asked():
    backend, handles = routed()
    with pytest.raises(ModelUnknown):
        heard(backend, Ask("v", "what?", model="third"))
    assert not handles.decode.asked
    assert asyncio.run(backend.models()) == ("fake", "other")


def test_a_call_is_tried_once_more():
    backend, _ = routed(decode=Part("decode", [LOST], ["facts"]))
    assert asyncio.run(backend.probe("v")) == "facts"
    backend, _ = routed(decode=Part("decode", [LOST]))
    with pytest.raises(WorkerLost):
        asyncio.run(backend.probe("v"))


def test_a_bug_is_not_tried_again():
    calls: list[int] = []

    def make() -> Any:
        calls.append(1)
        raise RayTaskError("see", "a traceback", KeyError("a"))

    retry: Callable[..., Any] = Retry(1.0).call
    with pytest.raises(RayTaskError):
        asyncio.run(retry(make))
    assert calls == [1]
