"""The endpoint on a real Ray of pretended GPUs: one answer however it is made, and nothing large through the ingress."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.endpoint import Endpoint, free_port, http, served, small, until
from benchmarks.serving.exported import samples, total
from serve.client import Client
from serve.contract import Ask, Correct, Done, PhraseFound, Seen, Text, Watching, Writing
from serve.profile import Part
from tests.integration.bulk import clips
from vglamm import checkpoint
from vglamm.answer import Answer
from vglamm.errors import DialogueError, ModelUnknown, NotKept, VideoNotFound
from vglamm.walk import Walk, load

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
]

SPLIT = small(
    vision=Part(cpus=0.15, gpus=0.4, nice=5),
    language=Part(cpus=0.15, gpus=0.6, nice=5),
    pixel=Part(replicas=(2, 2), cpus=0.15, gpus=1.0),
    window=5,
)
WHOLE = small(name="whole", layout="whole", whole=Part(cpus=0.15, gpus=1.0))
ALL = Watching(every_frame=True)


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spool")
    clips(folder, 3)
    return folder


@pytest.fixture(scope="module")
def split(local_ray: None, talker: Path, spool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    from ray import serve as ray_serve

    url, books = http(free_port()), tmp_path_factory.mktemp("books")
    with served(talker, spool, SPLIT, url=url, models={"other": str(talker)}, tracking="local", folder=str(books)) as endpoint:
        yield endpoint
    ray_serve.shutdown()


@pytest.fixture(scope="module")
def walk(talker: Path) -> Walk:
    return load(talker)


def heard(endpoint: Endpoint, ask: Ask) -> list[Any]:
    return list(endpoint.handle.options(stream=True).stream.remote(ask))


def content(answer: Answer) -> Answer:
    """All that does not tell where and how fast it was made."""
    return replace(answer, timings={}, source="")


@pytest.mark.parametrize("mode", ["video", "frames", "anchor"])
def test_split_gives_the_answer_of_ask(split: Endpoint, walk: Walk, spool: Path, mode: str) -> None:
    """Twelve frames in windows of five."""
    events = heard(split, Ask("clip-000.mp4", "who?", replace(ALL, mode=mode), source="upload"))
    own = walk.ask(spool / "clip-000.mp4", "who?", every_frame=True, mode=mode)
    done = events[-1]
    assert isinstance(done, Done)
    assert content(done.answer) == content(own)
    assert done.answer.source == "upload"
    assert "".join(event.piece for event in events if isinstance(event, Text)) == own.raw
    assert [event.text for event in events if isinstance(event, PhraseFound)] == [phrase.text for phrase in own.phrases]
    seen = [event for event in events if isinstance(event, Seen)]
    assert [(event.position, event.sights) for event in seen] == [(k, own.sights(k)) for k in range(12)]
    assert 0 < done.first_token_s < done.first_mask_s
    assert done.written_tokens > 10
    assert done.read_tokens > 32


def test_whole_gives_it_too(split: Endpoint, walk: Walk, talker: Path, spool: Path) -> None:
    with served(talker, spool, WHOLE, app="whole") as endpoint:
        events = heard(endpoint, Ask("clip-001.mp4", "who?", ALL))
    assert content(events[-1].answer) == content(walk.ask(spool / "clip-001.mp4", "who?", every_frame=True))


def test_a_drawn_answer_is_that_of_ask(split: Endpoint, walk: Walk, spool: Path) -> None:
    ask = Ask("clip-000.mp4", "who?", ALL, Writing(temperature=2.0, seed=3))
    own = walk.ask(spool / "clip-000.mp4", "who?", every_frame=True, temperature=2.0, seed=3)
    assert content(heard(split, ask)[-1].answer) == content(own)


def test_each_part_gets_what_its_profile_says(split: Endpoint) -> None:
    found = {name: split.inside(name, lambda part: part.station.where()) for name in SPLIT.parts}
    for name, part in SPLIT.parts.items():
        assert len(found[name]) == part.replicas[1]
        for where in found[name]:
            assert where["resources"] == {"CPU": part.cpus} | ({"GPU": part.gpus} if part.gpus else {})
            assert len(where["gpus"]) == (1 if part.gpus else 0)
            assert where["device"] == "cpu", "pretended GPUs are none that torch can use"
    [vision], [language] = found["vision"], found["language"]
    assert vision["gpus"] == language["gpus"], "0.4 and 0.6 of a GPU share one"
    assert len({gpu for where in (vision, *found["pixel"]) for gpu in where["gpus"]}) == 3


def test_what_works_stands_back_as_its_profile_says(split: Endpoint) -> None:
    heard(split, Ask("clip-002.mp4", "who?", ALL))  # each part's worker thread begins with its first work
    [own] = split.inside("tally", lambda _: os.getpriority(os.PRIO_PROCESS, 0))
    for name, part in SPLIT.parts.items():
        for working in split.inside(name, working_threads):
            assert set(working.values()) == {own + part.nice}, name
            assert working, name


def working_threads(part: Any) -> dict[str, int]:
    """Niceness of the threads that do a part's work; a thread of Linux has its own."""
    import threading

    named = [thread for thread in threading.enumerate() if thread.name.startswith(("work", "language"))]
    return {thread.name: os.getpriority(os.PRIO_PROCESS, thread.native_id) for thread in named if thread.native_id}


def watch_arrays(ingress: Any) -> None:
    """In the ingress: note every array in what Ray brings in."""
    import numpy as np
    import ray._private.serialization as serialization

    ingress.arrays = []
    bring = serialization.SerializationContext.deserialize_objects

    def arrays(value: Any, depth: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
        if isinstance(value, np.ndarray):
            yield str(value.dtype), value.shape
        elif depth < 8:
            inner = (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list | tuple)
                else vars(value).values()
                if hasattr(value, "__dict__")
                else ()
            )
            for one in inner:
                yield from arrays(one, depth + 1)

    def noted(self: Any, *given: Any) -> Any:
        values = bring(self, *given)
        ingress.arrays += [found for value in values for found in arrays(value)]
        return values

    serialization.SerializationContext.deserialize_objects = noted


def test_no_frames_tokens_or_masks_pass_through_the_ingress(split: Endpoint) -> None:
    split.inside("ingress", watch_arrays)
    heard(split, Ask("clip-002.mp4", "who?", ALL))
    [arrays] = split.inside("ingress", lambda ingress: ingress.arrays)
    prompts = {("float32", (1, 64)), ("float32", (2, 64))}
    assert set(arrays) == prompts, "the prompts of one phrase, then of both, and nothing else"


def test_a_further_question_does_not_see_the_video_again_and_a_lost_session_is_rebuilt(split: Endpoint) -> None:
    ask = Ask("clip-000.mp4", "who?", ALL, session="s")
    first = heard(split, ask)[-1].answer
    assert first.timings["vision"] > 0
    again = replace(ask, question="and now?", history=(("who?", first.raw),))
    second = heard(split, again)[-1].answer
    assert second.timings["vision"] == second.timings["decode"] == 0
    [kept] = split.inside("ingress", lambda ingress: len(ingress.backend.inner.seen.kept))
    assert kept == 1
    split.inside("ingress", lambda ingress: ingress.backend.inner.seen.kept.drop("s"))
    rebuilt = heard(split, again)[-1].answer
    assert rebuilt.timings["vision"] > 0
    assert content(rebuilt) == content(second)
    split.inside("ingress", lambda ingress: ingress.backend.inner.seen.kept.drop("s"))


@pytest.fixture
def shared(split: Endpoint) -> Iterator[None]:
    """As if there were several ingresses."""
    split.inside("ingress", lambda ingress: setattr(ingress.backend.inner.seen, "shared", True))
    yield
    split.inside("ingress", lambda ingress: setattr(ingress.backend.inner.seen, "shared", False))


@pytest.mark.usefixtures("shared")
def test_another_ingress_finds_the_tokens_of_a_session_at_vision(split: Endpoint) -> None:
    """This one forgets its reference, as if the first question had gone to another one."""

    def forgotten(what: str) -> None:
        split.inside(what, lambda part: (part.backend.inner.seen if what == "ingress" else part).kept.drop("shared"))

    ask = Ask("clip-000.mp4", "who?", ALL, session="shared")
    done = heard(split, ask)[-1]
    first = done.answer
    assert first.timings["vision"] > 0
    assert split.inside("vision", lambda vision: vision.kept.get("shared")[2].tokens.tokens.base is None) == [True], (
        "no view of more"
    )
    forgotten("ingress")
    again = replace(ask, question="and now?", history=(("who?", first.raw),), place=done.place)
    found = heard(split, again)[-1]
    assert found.answer.timings["vision"] == found.answer.timings["decode"] == 0
    assert found.place == done.place != ""
    forgotten("vision")
    assert heard(split, again)[-1].answer.timings["vision"] == 0, "its own reference"
    forgotten("ingress")
    rebuilt = heard(split, again)[-1].answer
    assert rebuilt.timings["vision"] > 0
    assert content(rebuilt) == content(found.answer)
    forgotten("ingress")
    forgotten("vision")


def test_a_correction_is_that_of_the_walk(split: Endpoint, walk: Walk, spool: Path) -> None:
    from vglamm.records import Marks

    ask = Ask("clip-000.mp4", "who?", ALL)
    answer = heard(split, ask)[-1].answer
    points = ((20.0, 20.0, True),)
    events = list(split.handle.options(stream=True).correct.remote(Correct(ask, answer, 1, 7, points)))
    *_, own = walk.correct(answer, 1, Marks(7, points), spool / "clip-000.mp4")
    assert [event.position for event in events[:-1]] == [7, 8, 9, 10, 11, 6, 5, 4, 3, 2, 1, 0]
    assert content(events[-1].answer) == content(own)


def test_another_model_is_asked_for_by_name(split: Endpoint, talker: Path) -> None:
    answer = heard(split, Ask("clip-000.mp4", "who?", ALL, model="other"))[-1].answer
    assert answer.model == checkpoint.identity(talker)
    [loaded] = split.inside("vision", lambda vision: list(getattr(vision, "__serve_multiplex_wrapper").models))
    assert loaded == ["other"]


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (Ask("none.mp4", "who?"), VideoNotFound),
        (Ask("clip-000.mp4", " "), DialogueError),
        (Ask("clip-000.mp4", "who?", model="third"), ModelUnknown),
    ],
)
def test_errors_cross_as_they_are(split: Endpoint, ask: Ask, error: type[Exception]) -> None:
    with pytest.raises(error):
        heard(split, ask)


def test_who_leaves_leaves_nothing_behind(split: Endpoint) -> None:
    """Closed at the first token and at the first mask: neither language nor pixel works on."""
    for kind in (Text, Seen):
        stream = split.handle.options(stream=True).stream.remote(Ask("clip-000.mp4", "who?", ALL))
        for event in stream:
            if isinstance(event, kind):
                break
        stream.cancel()
    for _ in until(120, "the end of cancelled work"):
        riding = split.inside("language", lambda part: len(part.own.engine._riding) + part.station.gauge.load)
        tracking = split.inside("pixel", lambda part: part.station.gauge.load)
        if not any((*riding, *tracking)):
            break


def test_rays_agents_export_what_was_answered(split: Endpoint, spool: Path) -> None:
    """Requests as clients saw them; answers, tokens and masks as the tally heard of them, by another way."""
    with Client(split.url) as client:
        video = client.upload(spool / "clip-000.mp4")
        said = [client.ask(video, "who?", every_frame=True).answer for _ in range(3)]
        with pytest.raises(NotKept):
            client.ask("v-" + 32 * "0", "who?")
    app, route = {"application": split.app}, {"application": split.app, "route": "/v1/answers", "method": "POST"}
    found: dict[str, float] = {}
    for _ in until(60, "the export of what was counted", found.copy):  # Ray reports each 10 s
        agents = samples("ray_vglamm_")
        found |= {
            "answered": total(agents, "ray_vglamm_requests_total", **route, status="200"),
            "refused": total(agents, "ray_vglamm_requests_total", **route, status="404"),
            "timed": total(agents, "ray_vglamm_request_seconds_count", **route),
            "ended": total(agents, "ray_vglamm_answer_seconds_count", **app),
            "tokens": total(agents, "ray_vglamm_tokens_total", **app),
            "masks": total(agents, "ray_vglamm_masks_total", **app),
        }
        [sums] = split.inside("tally", lambda tally: tally.total)
        noted = {"ended": sums.requests, "tokens": sums.tokens, "masks": sums.masks}
        if found == {"answered": 3, "refused": 1, "timed": 4, **noted}:
            break
    assert found["masks"] >= sum(len(track.rle) for answer in said for track in answer.tracks) == 72


def test_it_is_healthy_and_tracked(split: Endpoint) -> None:
    from mlflow import MlflowClient

    for name in SPLIT.parts:
        for actor in split.replicas(name):
            import ray

            ray.get(actor.check_health.remote())
    [tally] = split.inside("tally", lambda tally: (tally.run.id, str(tally.run.client.tracking_uri), tally.total.requests))
    run, books, requests = tally
    assert requests > 5
    found = MlflowClient(books).get_run(run)
    assert found.data.params["profile.pixel.replicas"] == "(2, 2)"
    assert found.data.tags["model.fake"].startswith("fake@")
