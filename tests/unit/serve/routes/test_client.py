"""The package's own client against a real server: the same answers, events and errors as on the other side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve.client import Answered, Client, Talk
from serve.contract import PhraseFound, Seen, Text, Watching, Writing
from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import PIECES, TEXT, Canned, served
from vglamm.answer import Answer
from vglamm.errors import (
    DialogueError,
    EnvironmentProblem,
    InUse,
    ModelUnknown,
    NotKept,
    Overloaded,
    RequestRefused,
    SessionGone,
    Unauthorised,
    UrlRefused,
    VideoUnreadable,
    WorkerLost,
)

TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def url(canned: Canned, settings: Settings) -> Iterator[str]:
    with served(api(canned, replace(settings, token=TOKEN))) as address:
        yield address


@pytest.fixture
def own(url: str) -> Iterator[Client]:
    with Client(url, TOKEN) as client:
        yield client


def served_by(url: str, token: str | None = None) -> list[str]:
    with Client(url, token) as client:
        return client.models()


def test_a_stream_gives_the_events_of_the_contract(own: Client, canned: Canned, clip: Path) -> None:
    video = own.upload(clip)
    events = list(own.stream(video, "who?", watching=Watching(fps=2.0, mode="frames"), writing=Writing(seed=3)))
    end = events[-1]
    assert isinstance(end, Answered)
    assert end.written_tokens == len(PIECES)
    assert [event.piece for event in events if isinstance(event, Text)] == list(PIECES)
    assert [event for event in events if isinstance(event, PhraseFound)] == [PhraseFound(0, "a cat")]
    seen = [event for event in events if isinstance(event, Seen)]
    track = end.answer.tracks[0]
    assert [(one.position, one.sights[0].rle, one.sights[0].box) for one in seen] == list(
        zip(range(12), track.rle, track.boxes, strict=True)
    )
    assert (canned.asks[0].sampling.fps, canned.asks[0].sampling.mode, canned.asks[0].writing.seed) == (2.0, "frames", 3)
    assert own.ask(question="and?", session=end.session).turn == 1
    assert own.ask(video, "who?", keep=False).session is None


def test_a_talk_sends_its_video_once(own: Client, canned: Canned, clip: Path) -> None:
    talk, heard = Talk(own, str(clip), Watching(every_frame=True)), []
    first = talk.ask("who?", on_text=heard.append, max_new_tokens=9, temperature=0.0, seed=0)
    second = talk.ask("and?")
    assert (first.text, first.source, "".join(heard)) == (TEXT, str(clip), "".join(PIECES))
    assert (second.question, canned.asks[1].history) == ("and?", (("who?", first.raw),))
    assert len({ask.video for ask in canned.asks}) == 1


def test_corrections_and_exports(own: Client, clip: Path) -> None:
    said = own.ask(own.upload(clip), "who?")
    assert said.session is not None
    corrected = own.correct(said.session, 0, 0, 3, points=[(5, 5, 1)])
    assert (corrected.answer.warnings, corrected.written_tokens) == (("corrected",), None)
    assert Answer.from_json(own.export(said.session, 0, "answer.json")) == corrected.answer
    assert {"images", "annotations", "videos"} <= set(json.loads(own.export(said.session, 0, "coco.json")))


def test_errors_are_those_that_the_server_raised(own: Client, url: str, canned: Canned, clip: Path, tmp_path: Path) -> None:
    video = own.upload(clip)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    for kind, ask in {
        VideoUnreadable: lambda: own.upload(broken),
        RequestRefused: lambda: own.ask(video, ""),
        UrlRefused: lambda: own.ask("https://example.org/clip.mp4", "who?"),
        NotKept: lambda: own.ask("v-" + "0" * 32, "who?"),
        SessionGone: lambda: own.ask(question="who?", session="s-" + "0" * 32),
        ModelUnknown: lambda: own.ask(video, "who?", model="nosuch"),
        Unauthorised: lambda: served_by(url, "wrong"),
        EnvironmentProblem: lambda: served_by("http://127.0.0.1:9"),
    }.items():
        with pytest.raises(kind):
            ask()
    canned.fail = DialogueError("this", "that", "do so")
    for fails in (lambda: own.ask(video, "who?"), lambda: list(own.stream(video, "who?"))):
        with pytest.raises(DialogueError) as raised:
            fails()
        assert (raised.value.got, raised.value.expected, raised.value.fix) == ("this", "that", "do so")


def test_an_overloaded_server_is_waited_for_as_long_as_there_is_patience(
    own: Client, url: str, canned: Canned, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, waits = own.upload(clip), []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        canned.refuse = None if len(waits) == 2 else canned.refuse

    monkeypatch.setattr("serve.client.time.sleep", wait)
    canned.refuse = Overloaded("a", "b", "c", 2.0)
    with pytest.raises(Overloaded) as raised:
        own.ask(video, "who?")
    assert (raised.value.retry_after, waits) == (2.0, [])
    with Client(url, TOKEN, patience=60.0) as patient:
        assert patient.ask(video, "who?").answer.text == TEXT
    assert waits == [2.0, 2.0]


class Proxy:
    """Answers some requests itself, as the proxy before the endpoint does: ``says`` has (status, headers) of each, None breaks the
    line, and once it is empty the endpoint answers."""

    def __init__(self, app: Any) -> None:
        self.app, self.says = app, list[tuple[int, list[tuple[bytes, bytes]]] | None]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not self.says:
            return await self.app(scope, receive, send)
        said = self.says.pop(0)
        status, headers = said or (200, [(b"content-length", b"9"), (b"content-type", b"text/event-stream")])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"cut" if said is None else b"in words of its own"})


@pytest.fixture
def proxy(canned: Canned, settings: Settings) -> Iterator[tuple[Proxy, Client]]:
    made = Proxy(api(canned, settings))
    with served(made) as address, Client(address) as client:
        yield made, client


@pytest.mark.parametrize("lost", [None, (500, []), (502, [])])
def test_what_was_lost_on_its_way_is_sent_once_more(proxy: tuple[Proxy, Client], clip: Path, lost: Any) -> None:
    before, client = proxy
    before.says = [lost]
    video = client.upload(clip)
    before.says = [lost]
    assert client.ask(video, "who?").answer.text == TEXT
    before.says = [lost]
    assert list(client.stream(video, "who?"))[-1].answer.text == TEXT  # type: ignore[union-attr]
    for fails, says in ((lambda: client.ask(video, "who?"), [lost, lost]), (lambda: client.submit(video, "who?"), [lost])):
        before.says = list(says)
        with pytest.raises((WorkerLost, EnvironmentProblem)):
            fails()
        assert before.says == []
    assert client._json("GET", "/v1/jobs") == []


def test_a_session_that_a_dead_replica_holds_is_waited_for(
    proxy: tuple[Proxy, Client], canned: Canned, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, client = proxy
    session, waits = client.ask(client.upload(clip), "who?").session, list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        canned.refuse = None if len(waits) == 3 else canned.refuse

    monkeypatch.setattr("serve.client.time.sleep", wait)
    canned.refuse = InUse("a session", "a free one", "ask again", 1.0)
    with pytest.raises(InUse):
        client.ask(question="and?", session=session)
    before.says = [None]
    assert client.ask(question="and?", session=session).turn == 1
    assert waits == [1.0, 1.0, 1.0]


def test_a_full_queue_of_the_proxy_is_waited_for(proxy: tuple[Proxy, Client], clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, client = proxy
    video, waits = client.upload(clip), list[float]()
    monkeypatch.setattr("serve.client.time.sleep", waits.append)
    before.says = [(503, [(b"retry-after", b"2")])]
    with pytest.raises(Overloaded) as raised:
        client.ask(video, "who?")
    assert (raised.value.retry_after, waits) == (2.0, [])
    client.patience = 60.0
    before.says = [(503, [(b"retry-after", b"2")]), (503, [(b"retry-after", b"3")])]
    assert client.ask(video, "who?").answer.text == TEXT
    assert waits == [2.0, 3.0]


def test_leaving_a_stream_stops_the_work(own: Client, canned: Canned, clip: Path) -> None:
    video = own.upload(clip)
    canned.held = True
    canned.go_on(3)
    stream = own.stream(video, "who?")
    assert isinstance(next(stream), Text)
    stream.close()  # type: ignore[attr-defined]
    assert canned.ended.acquire(timeout=60)
    assert canned.steps <= 3
