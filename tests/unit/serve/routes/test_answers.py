"""``POST /v1/answers``: the ways in, the answer's schema, streams, sessions, what is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from serve.schema import Answered
from serve.settings import Kept
from tests.unit.serve.canned import PIECES, RAW, TEXT, Canned, spooled
from vglamm.answer import Answer
from vglamm.errors import DialogueError, Overloaded

Connect = Callable[..., TestClient]


def events(body: str) -> Iterator[tuple[str, Any]]:
    for block in body.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_form_is_answered_with_the_schema_of_ask(client: TestClient, canned: Canned, clip: Path, repository: Path) -> None:
    response = client.post(
        "/v1/answers", data={"question": "who?", "every_frame": "true"}, files={"file": ("../../x.mp4", clip.read_bytes())}
    )
    body = response.json()
    assert response.status_code == 200, body
    jsonschema.validate(body["answer"], json.loads((repository / "docs" / "answer.schema.json").read_text()))
    answer = Answer.from_json(json.dumps(body["answer"]))
    assert (answer.text, answer.source, answer.question) == (TEXT, "upload", "who?")
    assert (body["first_token_s"], body["first_mask_s"], body["turn"]) == (0.25, 0.5, 0)
    assert body["written_tokens"] == len(PIECES)
    assert canned.asks[0].sampling.every_frame is True
    assert canned.asks[0].video == f"videos/{body['video']}"


@pytest.mark.parametrize("encoded", [True, False])
def test_a_data_url_is_a_video(client: TestClient, clip: Path, encoded: bool) -> None:
    data = clip.read_bytes()
    text = base64.b64encode(data).decode() if encoded else "".join(f"%{byte:02x}" for byte in data)
    url = f"data:video/mp4{';base64' if encoded else ''},{text}"
    response = client.post("/v1/answers", json={"video": url, "question": "who?"})
    assert response.status_code == 200, response.text
    assert client.get(f"/v1/videos/{response.json()['video']}").content == data


def test_a_stream_tells_in_the_order_of_the_contract(client: TestClient, video: str) -> None:
    response = client.post("/v1/answers", json={"video": video, "question": "who?", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    told = list(events(response.text))
    assert [name for name, _ in told] == ["text"] * 5 + ["phrase"] + ["text"] * 2 + ["masks"] * 12 + ["answer"]
    assert "".join(data["piece"] for name, data in told if name == "text") == RAW
    assert dict(told)["phrase"] == {"track": 0, "text": "a cat"}
    masks = [data for name, data in told if name == "masks"]
    assert [data["position"] for data in masks] == list(range(12))
    end = told[-1][1]
    assert [data["sights"][0]["rle"] for data in masks] == end["answer"]["tracks"][0]["rle"]
    assert set(end) == set(Answered.model_fields), "as published"
    assert end["written_tokens"] == len(PIECES)


def test_an_error_before_the_first_event_has_its_status_and_after_it_is_the_last_event(
    client: TestClient, canned: Canned, video: str
) -> None:
    asked = {"video": video, "question": "who?", "stream": True}
    canned.refuse = Overloaded("9 questions that wait", "8", "come again", 2.5)
    response = client.post("/v1/answers", json=asked)
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert response.json()["error"]["code"] == "overloaded"
    canned.refuse, canned.fail = None, DialogueError("/srv/spool/x", "y", "z")
    response = client.post("/v1/answers", json=asked)
    told = list(events(response.text))
    assert (response.status_code, [name for name, _ in told]) == (200, ["text", "error"])
    assert told[-1][1]["error"] == {
        "code": "dialogue_error",
        "message": "got the file; expected y; z",
        "request_id": response.headers["x-request-id"],
    }
    assert canned.open == 0


def test_a_bug_is_told_without_its_inside(client: TestClient, canned: Canned, video: str) -> None:
    canned.fail = KeyError("/etc/secret")
    for stream in (False, True):
        response = client.post("/v1/answers", json={"video": video, "question": "who?", "stream": stream})
        assert "secret" not in response.text
        assert "internal_error" in response.text
        assert response.headers["x-request-id"] in response.text
        assert response.status_code == (200 if stream else 500)


def test_a_further_question_goes_on_with_the_session(client: TestClient, canned: Canned, video: str) -> None:
    first = client.post("/v1/answers", json={"video": video, "question": "who?", "fps": 2, "mode": "frames"}).json()
    again = {"session": first["session"]}
    second = client.post("/v1/answers", json=again | {"question": "and?", "mode": "anchor"}).json()
    alone = client.post("/v1/answers", json=again | {"question": "alone?", "alone": True}).json()
    client.post("/v1/answers", json=again | {"question": "last?"})
    assert (second["session"], second["turn"], second["video"], alone["turn"]) == (first["session"], 1, video, 2)
    asks = canned.asks
    assert [ask.session for ask in asks] == [first["session"]] * 4
    assert [ask.history for ask in asks] == [(), (("who?", RAW),), (), (("who?", RAW), ("and?", RAW))]
    assert [(ask.sampling.fps, ask.sampling.mode) for ask in asks] == [(2.0, m) for m in ("frames", "anchor", "frames", "frames")]
    told = client.get(f"/v1/sessions/{first['session']}").json()
    assert [turn["question"] for turn in told["turns"]] == ["who?", "and?", "alone?", "last?"]


@pytest.mark.parametrize("wrong", [{"fps": 4}, {"every_frame": True}, {"model": "other"}, {"video": "v-" + "0" * 32}])
def test_a_session_keeps_to_its_video_and_frames(client: TestClient, video: str, wrong: dict[str, Any]) -> None:
    session = client.post("/v1/answers", json={"video": video, "question": "who?", "fps": 2}).json()["session"]
    response = client.post("/v1/answers", json={"session": session, "question": "and?"} | wrong)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "request_refused")


def test_nothing_is_kept_if_nobody_asks_for_it(client: TestClient, clip: Path, tmp_path: Path, video: str) -> None:
    before = spooled(tmp_path / "spool")
    response = client.post("/v1/answers", data={"question": "who?", "keep": "false"}, files={"file": clip.read_bytes()})
    assert response.json()["session"] is None
    assert spooled(tmp_path / "spool") == before
    assert client.post("/v1/answers", json={"video": video, "question": "who?", "keep": False}).status_code == 200
    assert spooled(tmp_path / "spool") == before
    assert spooled(tmp_path / "spool", "sessions") == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"question": "w" * 4001}, 422),
        ({"session": "s-" + "0" * 32}, 410),
        ({"video": "v-" + "0" * 32}, 422),
        ({"model": "no"}, 404),
    ],
)
def test_an_upload_goes_with_the_request_that_is_refused(
    client: TestClient, clip: Path, tmp_path: Path, wrong: dict[str, str], status: int, keep: bool, stream: bool
) -> None:
    fields = {"question": "who?", "keep": str(keep), "stream": str(stream)} | wrong
    response = client.post("/v1/answers", data=fields, files={"file": clip.read_bytes()})
    assert response.status_code == status, response.text
    assert spooled(tmp_path / "spool") == []


def inline(clip: Path) -> str:
    return "data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("path", ["/v1/answers", "/v1/jobs", "/v1/chat/completions"])
def test_a_video_that_is_named_inline_goes_with_the_request_that_is_refused(
    connect: Connect, canned: Canned, clip: Path, tmp_path: Path, path: str, keep: bool, stream: bool
) -> None:
    canned.refuse = Overloaded("9 questions that wait", "8", "come again", 2.5)
    asked: dict[str, Any] = {"video": inline(clip), "question": "who?"}
    if path == "/v1/answers":
        asked |= {"keep": keep, "stream": stream}
    elif path != "/v1/jobs":
        part = {"type": "video_url", "video_url": {"url": inline(clip)}}
        asked = {"model": "tiny", "messages": [{"role": "user", "content": [part]}], "stream": stream}
    response = connect(kept=Kept(jobs=0)).post(path, json=asked)
    assert response.status_code == 503, response.text
    assert spooled(tmp_path / "spool") == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_video_goes_with_the_session_that_cannot_begin(
    client: TestClient, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async def begin(*_: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(client.app.state.desk.sessions, "begin", begin)
    assert client.post("/v1/answers", json={"video": inline(clip), "question": "who?", "stream": stream}).status_code == 500
    assert spooled(tmp_path / "spool") == []


def test_a_video_stays_with_the_answer_that_was_streamed(client: TestClient, clip: Path, canned: Canned) -> None:
    asked = {"video": inline(clip), "question": "who?", "stream": True}
    (_, end) = list(events(client.post("/v1/answers", json=asked).text))[-1]
    assert client.get(f"/v1/videos/{end['video']}").status_code == 200
    canned.fail = DialogueError("x", "y", "z")
    (name, _) = list(events(client.post("/v1/answers", json=asked).text))[-1]
    assert name == "error"
    assert spooled(Path(canned.spool)) == [end["video"], f"{end['video']}.json"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"question": "who?"}, 422, "request_refused"),
        ({"question": "who?", "video": "v-" + "0" * 32}, 404, "not_kept"),
        ({"question": "who?", "video": "../../etc/passwd"}, 403, "url_refused"),
        ({"question": "who?", "video": "data:nonsense"}, 422, "request_refused"),
        ({"question": "who?", "video": "data:video/mp4;base64,####"}, 422, "request_refused"),
        ({"question": "who?", "video": "data:video/mp4;base64,AAAA"}, 422, "video_unreadable"),
        ({"question": "", "video": "x"}, 422, "request_refused"),
        ({"question": "w" * 4001, "video": "v-" + "0" * 32}, 422, "request_refused"),
        ({"question": "\ud800", "video": "x"}, 422, "request_refused"),
        ({"question": 7, "video": "x"}, 422, "request_refused"),
        ({"question": "who?", "video": "x", "fps": -1}, 422, "request_refused"),
        ({"question": "who?", "video": "x", "fps": 1e999}, 422, "request_refused"),
        ({"question": "who?", "video": "x", "mode": "magic"}, 422, "request_refused"),
        ({"question": "who?", "video": "x", "more": 1}, 422, "request_refused"),
        ({"question": "who?", "session": "s-" + "0" * 32}, 410, "session_gone"),
        ({"question": "who?", "session": "../x"}, 422, "request_refused"),
        ({"question": "who?", "model": "nosuch"}, 422, "request_refused"),
        ([], 422, "request_refused"),
        ("text", 422, "request_refused"),
    ],
)
def test_what_is_wrong_is_refused(client: TestClient, canned: Canned, body: Any, status: int, code: str) -> None:
    response = client.post("/v1/answers", content=json.dumps(body), headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert set(error) == {"code", "message", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    assert canned.asks == []


def test_an_unknown_model_is_told(client: TestClient, video: str) -> None:
    response = client.post("/v1/answers", json={"video": video, "question": "who?", "model": "nosuch"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_unknown")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"--x\r\n\r\n"])
def test_a_body_that_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/answers", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


def test_pieces_are_what_was_written() -> None:
    assert "".join(PIECES) == RAW
