"""What bulk annotation asks of a real server: questions alone, long ones for as long as they take, silence told from absence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serve import attend
from serve.bulk import Remote
from serve.client import Answered, Client
from serve.contract import Ask, Event
from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import PIECES, Canned, served, spooled
from vglamm.errors import AnswerTooSlow, EnvironmentProblem, RequestRefused

SILENCE = 1.0
BEATS = 40
"""Of 0.05 s each: more than twice the silence that the client bears."""


class Slow(Canned):
    """Never says a word about a question that is "slow?"."""

    async def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        if ask.question == "slow?":
            self.opened.release()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.release()
        async for event in super().stream(ask):
            yield event


class Wire:
    """What the client sees of an application. beats: signs of life so far; ``enough`` is called at the last of :data:`BEATS`.
    hangs: requests of these paths, None for all, are taken and never answered."""

    def __init__(self, app: Any) -> None:
        self.app, self.beats = app, 0
        self.hangs: set[str] | None = set()
        self.enough: Any = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (self.hangs is None or scope["path"] in self.hangs):
            while (await receive())["type"] != "http.disconnect":
                pass
            return

        async def seen(message: Any) -> None:
            if message.get("body") == attend.ALIVE:
                self.beats += 1
                if self.beats == BEATS:
                    self.enough()
            await send(message)

        await self.app(scope, receive, seen)


@pytest.fixture
def slow(settings: Settings) -> Slow:
    return Slow(settings.spool, settings.taken.media)


@pytest.fixture
def wire(slow: Slow, settings: Settings) -> Wire:
    return Wire(api(slow, settings))


@pytest.fixture
def remote(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    with served(wire) as url, closing(Remote(url, seconds=SILENCE)) as made, Client(url) as patient:
        monkeypatch.setattr(made.client, "upload", patient.upload)  # the first one starts a process that examines it
        yield made


def test_an_answer_may_take_longer_than_the_client_bears_silence(
    slow: Slow, wire: Wire, remote: Remote, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attend, "_SILENCE", 0.05)
    slow.held, wire.enough = True, slow.go_on
    slow.go_on(1)  # the first piece of text, and then for a long time nothing
    [said] = remote.answers(str(clip), ["who?"], {})
    assert isinstance(said, Answered)
    assert said.written_tokens == len(PIECES)
    assert wire.beats >= BEATS


def test_who_leaves_does_not_wait_for_a_long_answer(
    slow: Slow, wire: Wire, remote: Remote, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attend, "_SILENCE", 0.05)
    slow.held, wire.enough = True, remote.leave  # called in the server's thread, as the job's calls it in another one
    slow.go_on(1)
    with pytest.raises((RuntimeError, EnvironmentProblem)):
        list(remote.answers(str(clip), ["who?"], {}))
    assert slow.ended.acquire(timeout=60), "the server stops the work"


def test_a_question_that_is_refused_fails_alone(slow: Slow, remote: Remote, clip: Path, settings: Settings) -> None:
    found = list(remote.answers(str(clip), ["who?", "x" * (settings.taken.question + 1), "and?"], {}))
    assert [type(one) for one in found] == [Answered, RequestRefused, Answered]


def test_a_question_that_a_server_is_silent_about_fails_alone(slow: Slow, remote: Remote, clip: Path) -> None:
    found = list(remote.answers(str(clip), ["who?", "slow?", "and?"], {}))
    assert [type(one) for one in found] == [Answered, AnswerTooSlow, Answered]
    assert f"nothing was heard for {SILENCE:g} s" in str(found[1])
    assert slow.opened.acquire(timeout=60)
    assert slow.ended.acquire(timeout=60), "the server gave up what nobody waits for"
    assert spooled(Path(slow.spool)) == []


def test_a_server_that_hangs_altogether_is_the_servers_fault(
    wire: Wire, remote: Remote, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.client.CONNECT_SECONDS", SILENCE)
    found = remote.answers(str(clip), ["who?", "and?"], {})
    assert isinstance(next(found), Answered)
    wire.hangs = None
    with pytest.raises(EnvironmentProblem, match=r"nor that it is ready.*the same command goes on"):
        next(found)


def test_a_server_that_takes_no_questions_now_is_too(slow: Slow, remote: Remote, clip: Path) -> None:
    slow.is_ready = False
    with pytest.raises(EnvironmentProblem, match="nor that it is ready"):
        list(remote.answers(str(clip), ["slow?"], {}))


def test_a_server_that_is_gone_is_no_fault_of_a_video(clip: Path, settings: Settings, slow: Slow) -> None:
    with served(api(slow, settings)) as url, closing(Remote(url)) as remote:
        assert remote.identity() == "canned"
    with closing(Remote(url, seconds=SILENCE)) as gone, pytest.raises(EnvironmentProblem, match="no answer from"):
        list(gone.answers(str(clip), ["who?"], {}))
