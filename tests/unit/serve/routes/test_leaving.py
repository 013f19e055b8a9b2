"""Clients that leave: the work stops at the step that it is at."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx2
import pytest

from serve.ingress import api
from serve.settings import Settings
from tests.unit.serve.canned import Canned, served, spooled


@pytest.mark.parametrize("path", ["/v1/answers", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("steps", [0, 3, 10])
def test_a_client_that_leaves_stops_the_work_at_once(
    canned: Canned, settings: Settings, clip: Path, path: str, stream: bool, steps: int
) -> None:
    canned.held = True
    canned.go_on(steps)
    with served(api(canned, settings)) as url, httpx2.Client(timeout=120) as client:
        video = client.post(f"{url}/v1/videos", content=clip.read_bytes()).json()["video"]
        part = {"type": "video_url", "video_url": {"url": video}}
        body = {"messages": [{"role": "user", "content": [part]}], "model": "tiny"} if "chat" in path else {"video": video}
        body |= {"stream": stream} | ({} if "chat" in path else {"question": "who?"})
        with httpx2.Client(timeout=120) as leaving:
            request = leaving.build_request("POST", f"{url}{path}", json=body)
            if stream and steps:
                response = leaving.send(request, stream=True)
                pieces = response.iter_bytes()  # with it the connection would end, before the steps are made
                next(pieces)
                assert all(canned.stepped.acquire(timeout=60) for _ in range(steps))
                response.close()
            else:
                _send_and_leave(url, path, request.content, canned, steps)
        assert canned.ended.acquire(timeout=60), "the work goes on"
        assert (canned.open, canned.steps) == (0, steps)
        canned.held = False
        again = {"video": video, "question": "who?", "keep": False}
        assert client.post(f"{url}/v1/answers", json=again).status_code == 200
    assert spooled(Path(settings.spool), "sessions") == []
    assert canned.forgotten == [ask.session for ask in canned.asks if ask.session is not None], "tokens that nobody can ask about"


def _send_and_leave(url: str, path: str, body: bytes, canned: Canned, steps: int) -> None:
    """A request whose sender closes the line once so many steps are made, before any answer."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        assert canned.opened.acquire(timeout=60)
        assert all(canned.stepped.acquire(timeout=60) for _ in range(steps))
