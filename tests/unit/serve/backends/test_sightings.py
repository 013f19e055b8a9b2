"""Visual tokens of sessions where an endpoint has several ingresses: found where they were left, made again where they are lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from serve import profile
from serve.backends import sightings
from serve.backends.sightings import Sightings
from serve.backends.wire import Film
from serve.contract import Ask, Watching
from serve.profile import Profile
from tests.unit.serve.parts import ASK, LOST, PIECES, WRITTEN, Part, heard, routed
from vglamm.errors import Overloaded, WorkerLost

SEVERAL = Profile("p", ingress=profile.Part(replicas=(1, 2)))
KEPT = [[replace(WRITTEN[0], place="replica 7")], [*WRITTEN[1:]]]
FILM = Film("v", Watching(every_frame=True))


def methods(part: Part) -> list[str]:
    return [asked[0] for asked in part.asked]


@pytest.mark.parametrize("mode", ["video", "anchor"])
def test_one_of_several_ingresses_finds_tokens_where_another_had_them_made(mode):
    backend, handles = routed(Part("language", KEPT), vision=Part("vision", ["tokens"], [True], ["tokens"]))
    asked = Ask("v", "what?", Watching(every_frame=True, mode=mode), session="s")
    backend.seen = Sightings(SEVERAL)
    first = heard(backend, asked)[-1]
    assert (first.answer.timings["vision"], first.place) == (3.0, "replica 7")
    look = handles.decode.given[1]
    assert handles.vision.asked == [("see", look, "s", FILM)]
    assert handles.decode.asked[1] == ("look", replace(FILM, watching=asked.sampling)), "which checks its mode"
    backend.seen = Sightings(SEVERAL)  # another one
    for found in ("vision.recall", "ref of vision.recall"):
        done = heard(backend, replace(asked, place=first.place))[-1]
        assert (done.answer.timings["vision"], done.place) == (0, "replica 7")
        watched = handles.language.asked[-1][1]
        assert getattr(watched, "name", watched) == found
    assert handles.vision.asked[1:] == [("holds", "s", FILM), ("recall", "s", FILM)]
    assert handles.vision.chosen == [{"session_id": "replica 7"}]
    assert methods(handles.decode) == ["frames", "look", "frames", "frames"]


GONE = WorkerLost("tokens", "some", "ask again")


@pytest.mark.parametrize(
    ("held", "failure", "asked"),
    [
        (False, LOST, ["holds", "see", "see"]),  # a replica that is lost then costs the one further try
        (LOST, LOST, ["holds", "see", "see"]),  # and not both
        (True, GONE, ["holds", "recall", "see"]),  # on the way from vision
    ],
)
def test_tokens_that_are_not_there_any_more_are_made_again(held, failure, asked):
    backend, handles = routed(Part("language", [failure], PIECES), vision=Part("vision", [held], ["tokens"]))
    backend.seen = Sightings(SEVERAL)
    done = heard(backend, Ask("v", "what?", Watching(), session="s", place="there"))[-1]
    assert done.answer.timings["vision"] == 3.0
    assert methods(handles.vision) == asked


def test_a_session_that_ends_is_forgotten_where_its_tokens_are():
    backend, handles = routed(Part("language", KEPT))
    backend.seen = Sightings(SEVERAL)
    heard(backend, Ask("v", "what?", Watching(), session="s"))
    asyncio.run(backend.forget("s"))  # its first turn broke off: no record says where
    assert handles.vision.asked[1:] == [("forget", "s")]
    assert len(backend.seen.kept) == 0
    handles.vision.script = [[Overloaded("a", "b", "c", 1.0)]]
    asyncio.run(backend.forget("t", "replica 7"))
    assert handles.vision.asked[2:] == [("forget", "t")]
    assert handles.vision.chosen == [{"session_id": "replica 7"}] * 2
    backend.seen.shared = False
    asyncio.run(backend.forget("t", "replica 7"))  # of a record from before
    backend.seen.shared = True
    asyncio.run(backend.forget("u"))
    assert len(handles.vision.asked) == 3, "nobody has any"


@pytest.mark.parametrize(
    ("shape", "shared"),
    [
        (SEVERAL, True),
        (Profile("p"), False),
        (Profile("p", ingress=profile.Part(replicas=(1, 2)), vision=profile.Part(replicas=(0, 2))), False),
    ],
)
def test_vision_keeps_tokens_where_there_are_several_ingresses_and_it_stays(shape, shared):
    backend, handles = routed()
    backend.seen = Sightings(shape)
    assert backend.seen.shared is shared
    heard(backend, ASK)
    heard(backend, replace(ASK, session="s"))
    assert [len(asked) for asked in handles.vision.asked] == [2, 4 if shared else 2], "without a session nothing is kept"


def test_a_vision_that_does_not_answer_holds_up_no_end_of_a_session(monkeypatch):
    class Stuck(Part):
        def __getattr__(self, method):
            return SimpleNamespace(remote=lambda *_: asyncio.Event().wait())

    monkeypatch.setattr(sightings, "PATIENCE", 0.01)
    backend, _ = routed(vision=Stuck("vision", ["tokens"]))
    backend.seen = Sightings(SEVERAL)
    asyncio.run(asyncio.wait_for(backend.forget("s", "replica 7"), 5))
