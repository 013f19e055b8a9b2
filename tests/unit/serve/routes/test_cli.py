"""`vglamm ask --server` and what bulk annotation asks, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from serve.bulk import _TURNS, Remote
from serve.client import Answered
from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import RAW, TEXT, Canned, served, spooled
from vglamm import cli
from vglamm.answer import Answer
from vglamm.errors import DialogueError, VideoUnreadable

TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def url(canned: Canned, settings: Settings) -> Iterator[str]:
    with served(api(canned, replace(settings, token=TOKEN))) as address:
        yield address


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as exit:
        cli.main([str(word) for word in words])
    return int(exit.value.code or 0)


def test_ask_shows_and_writes_what_the_server_says(
    url: str, token_file: Path, clip: Path, canned: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["--server", url, "--token-file", token_file]
    written, overlay = tmp_path / "answers.json", tmp_path / "shown.mp4"
    assert run("ask", clip, "who?", "and?", "--every-frame", "--mode", "frames", "--json", written, "--overlay", overlay, *to) == 0
    shown = capsys.readouterr().out
    assert "> who?" in shown
    assert TEXT in shown
    first, second = (Answer.from_json(json.dumps(one)) for one in json.loads(written.read_text()))
    assert (first.source, second.question) == (str(clip), "and?")
    assert overlay.stat().st_size > 1000
    assert overlay.with_stem("shown-2").exists()
    assert [ask.history for ask in canned.asks] == [(), (("who?", RAW),)]
    assert (canned.asks[1].sampling.every_frame, canned.asks[1].sampling.mode) == (True, "frames")
    assert spooled(Path(canned.spool)) == spooled(Path(canned.spool), "sessions") == []


def test_refusals_exit_with_2(url: str, token_file: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", clip, "who?", "--server", url) == 2
    assert "token" in capsys.readouterr().err
    assert run("ask", tmp_path / "no.mp4", "who?", "--server", url, "--token-file", token_file) == 2
    assert run("ask", clip, "who?", "--server", "http://127.0.0.1:9") == 2
    assert "no answer from" in capsys.readouterr().err
    assert run("ask", clip, "who?", "--server", url, "--token-file", token_file, "--server-model", "nosuch") == 2
    capsys.readouterr()
    for option, value in (("--model", "phi3"), ("--device", "cuda:7"), ("--quantise", "4bit"), ("--dtype", "float16")):
        assert run("ask", clip, "who?", "--server", url, "--token-file", token_file, option, value) == 2
        assert f"{option} with --server" in capsys.readouterr().err
    for option, value in (("--model", "phi3"), ("--profile", "cluster")):
        assert run("annotate", clip.parent, "--out", tmp_path / "out", "--question", "who?", "--server", url, option, value) == 2
        assert f"{option} with --server" in capsys.readouterr().err
    assert run("ask", clip, "who?", "--token-file", token_file) == 2
    assert "--token-file without --server" in capsys.readouterr().err
    assert run("annotate", clip.parent, "--out", tmp_path / "out", "--question", "who?", "--in-flight", 2) == 2
    assert "--in-flight without --server" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bulk_asks_each_question_alone_about_one_upload(url: str, clip: Path, canned: Canned) -> None:
    questions = [f"{number}?" for number in range(_TURNS + 2)]
    with closing(Remote(url, TOKEN)) as remote:
        answers = list(remote.answers(str(clip), questions, {"fps": 2.0, "mode": "frames", "max_new_tokens": 5}))
    assert [said.answer.question for said in answers if isinstance(said, Answered)] == questions
    assert {ask.history for ask in canned.asks} == {()}
    assert {(ask.sampling.fps, ask.sampling.mode, ask.writing.max_new_tokens) for ask in canned.asks} == {(2.0, "frames", 5)}
    assert len({ask.video for ask in canned.asks}) == 1
    assert len({ask.session for ask in canned.asks}) == 2
    assert spooled(Path(canned.spool)) == spooled(Path(canned.spool), "sessions") == []


def test_bulk_tells_questions_that_fail_from_videos_that_do(url: str, clip: Path, canned: Canned, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    canned.fail = DialogueError("a", "b", "c")
    with closing(Remote(url, TOKEN)) as remote:
        assert remote.identity is not None
        assert [type(one) for one in remote.answers(str(clip), ["a?", "b?"], {})] == [DialogueError, DialogueError]
        with pytest.raises(VideoUnreadable):
            list(remote.answers(str(broken), ["a?"], {}))
        canned.fail = None
        assert remote.identity() == "canned"
    assert spooled(Path(canned.spool)) == []
