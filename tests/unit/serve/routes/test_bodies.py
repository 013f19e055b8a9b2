"""JSON of a few megabytes that would become gigabytes, or hold up everybody else."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from serve.http import uploads
from serve.http.bodies import VALUES, tree_of
from serve.http.chat_schema import Message
from tests.unit.serve.canned import Canned
from vglamm.errors import RequestRefused

MANY = {f"{number:x}": 0 for number in range(VALUES + 1)}
SESSION = "s-" + "0" * 32
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": [0] * (VALUES + 1)}]},
    "/v1/answers": {"question": "who?", **MANY},
    "/v1/jobs": {"question": "who?", **MANY},
    "/v1/videos": {"video": "x", **MANY},
    "/v1/exports": {"session": SESSION, "turn": 0, "format": "mp4", **MANY},
    f"/v1/sessions/{SESSION}/corrections": {"turn": 0, "track": 0, "position": 0, "points": [[]] * (VALUES + 1)},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_body_of_too_many_values_is_not_looked_at(
    client: TestClient, canned: Canned, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(json, "loads", lambda text, **_: made.append(text))
    response = client.post(path, content=json.dumps(BODIES[path]).encode(), headers={"Content-Type": "application/json"})
    monkeypatch.undo()
    assert (response.status_code, made) == (422, [])
    assert response.json()["error"]["message"].startswith(f"got a body of too many values; expected at most {VALUES}")
    assert canned.asks == []


@pytest.mark.parametrize(
    "body",
    [
        {"a": "[{," * VALUES},
        {"a": '\\",' * VALUES},
        {"a\\": ["\\\\", '"[', ",\\"] * 1000, "b": ", " * VALUES},
        [0] * (VALUES - 1),
        "\u2200\u222c[," * VALUES,
    ],
)
def test_commas_and_brackets_of_a_text_are_not_values(body: Any) -> None:
    for ascii in (True, False):
        assert tree_of(json.dumps(body, ensure_ascii=ascii).encode()) == body


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * VALUES + b"{}]",
        b"[" * 10**6,
        b'["' + b'","' * VALUES + b'"]',
        b'{"a\\\\":[' + b"0," * VALUES + b'0],"b":"\\""}',
        b'"' * 10 * VALUES + b"," * 2 * VALUES,
    ],
)
def test_values_are_counted_where_they_are_none_of_a_text(body: bytes) -> None:
    with pytest.raises(RequestRefused, match="too many values"):
        tree_of(body)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16", "utf-32"])
def test_quotes_do_not_hide_in_another_encoding(encoding: str) -> None:
    """In UTF-16 half of U+2200 looks like a quote."""
    with pytest.raises(RequestRefused):
        tree_of(('["\u2200",' + "0," * 3 * VALUES + '"\u2200"]').encode(encoding))


def test_of_the_parts_of_a_message_the_first_mistake_is_told(client: TestClient) -> None:
    """Each of them would take a kilobyte, twice: as a text and as a part."""
    message = {"role": "user", "content": [0] * 5000}
    response = client.post("/v1/chat/completions", json={"model": "tiny", "messages": [message]})
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("got messages.0.content.str: Input should be a valid string (and 1 more)")


def test_a_message_has_so_many_parts() -> None:
    part = {"type": "text", "text": "a"}
    assert len(Message.model_validate({"role": "user", "content": [part] * 64}).text) == 127
    with pytest.raises(ValidationError, match="at most 64 items"):
        Message.model_validate({"role": "user", "content": [part] * 65})


@pytest.mark.parametrize("before", range(4))
def test_a_percent_encoded_video_is_read_in_blocks_beside_the_loop(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that ended inside of %61 would make another video of it; ``before`` puts the ends everywhere."""
    lengths, threads = [], set()

    def noted(text: str) -> bytes:
        lengths.append(len(text))
        threads.add(threading.get_ident())
        return unquote_to_bytes(text)

    monkeypatch.setattr(uploads, "unquote_to_bytes", noted)
    text = "x" * before + "%61%zz%" * 100_000

    async def read() -> bytes:
        return b"".join([block async for block in uploads._inline(f"data:,{text}")])

    assert asyncio.run(read()) == unquote_to_bytes(text)
    assert max(lengths) <= 64 * 1024
    assert threading.get_ident() not in threads
