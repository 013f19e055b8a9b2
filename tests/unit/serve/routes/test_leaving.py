"""Clients that leave: the work stops at the step that it is at."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from serve.contract import Ask, VideoFacts
from serve.ingress import api
from serve.settings import Settings
from serve.store.exports import Exports
from serve.store.spool import Spool
from tests.unit.serve.canned import Canned, answer_of, served, spooled
from vglamm.media.guarded import GuardedSource


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


@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize("steps", [1, 10])
def test_of_a_first_question_that_is_left_no_video_is_kept(
    canned: Canned, settings: Settings, clip: Path, form: bool, steps: int
) -> None:
    left = threading.Event()
    content = clip.read_bytes()
    inline = {"video": "data:video/mp4;base64," + base64.b64encode(content).decode(), "question": "who?", "stream": True}
    asked: dict[str, Any] = {"json": inline}
    if form:
        asked = {"data": {"question": "who?", "stream": "true"}, "files": {"file": content}}
    canned.held = True
    canned.go_on(steps)
    with served(api(canned, settings, lambda *_: left.set())) as url, httpx2.Client(timeout=120) as client:
        with client.stream("POST", f"{url}/v1/answers", **asked) as response:
            pieces = response.iter_bytes()  # kept, as above
            next(pieces)
            assert len(spooled(Path(settings.spool))) == 2, "the video and its record"
        assert left.wait(60), "the request goes on"
    assert canned.open == 0
    assert spooled(Path(settings.spool)) == []


class Slow:
    """Decoding that gives the first frame, and each further one when ``go`` allows it. given: how many frames. waits: released
    whenever the drawing waits for a frame. over: set when it wants no more."""

    def __init__(self) -> None:
        self.given = 0
        self.go, self.waits, self.over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def walk(self, source: GuardedSource, wanted: list[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        try:
            for index in wanted:
                if self.given:
                    self.waits.release()
                    assert self.go.acquire(timeout=60)
                self.given += 1
                yield index, np.zeros((source.info.height, source.info.width, 3), np.uint8)
        finally:
            self.over.set()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(GuardedSource, "_walk", lambda source, wanted: made.walk(source, wanted))
    return made


def test_an_export_that_nobody_waits_for_gives_its_thread_back(slow: Slow, settings: Settings, clip: Path) -> None:
    exports = Exports(Spool(settings.spool, 10**9), settings)
    name = "v-" + "0" * 32
    Path(settings.spool, "videos", name).write_bytes(clip.read_bytes())
    answer = answer_of(Ask(name, "who?"), VideoFacts((64, 96), 12, 2.0, 6.0, False))

    async def leave() -> bytes:
        drawing = asyncio.create_task(exports.make(answer, name, "overlay.mp4"))
        queued = asyncio.create_task(exports.make(answer, name, "overlay.mp4"))
        assert await asyncio.to_thread(slow.waits.acquire, timeout=60)
        for task in (queued, drawing):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        slow.go.release(100)
        return await exports.make(answer, name, "coco.json")

    assert asyncio.run(leave()).startswith(b"{")
    assert slow.given == 2, "the drawing went on, or began again for the one that was queued"


def test_a_client_that_leaves_stops_an_export(slow: Slow, canned: Canned, settings: Settings, clip: Path) -> None:
    left = threading.Event()

    def hook(route: str, method: str, status: int, seconds: float) -> None:
        if status == 499:
            left.set()

    with served(api(canned, settings, hook)) as url, httpx2.Client(timeout=120) as client:
        video = client.post(f"{url}/v1/videos", content=clip.read_bytes()).json()["video"]
        session = client.post(f"{url}/v1/answers", json={"video": video, "question": "who?"}).json()["session"]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as line:
            line.sendall(f"GET /v1/sessions/{session}/turns/0/overlay.mp4 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert slow.waits.acquire(timeout=60)
        assert left.wait(60), "nobody noticed"
        slow.go.release(100)
        assert slow.over.wait(60)
    assert slow.given == 2
