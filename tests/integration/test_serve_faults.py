"""What dies, floods, leaves or is replaced: the endpoint over HTTP. Short forms; ``make soak`` has the long ones."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import load
from benchmarks.serving.endpoint import Endpoint, deploy, http, served, small, until
from serve.profile import SPLIT as PARTS
from serve.profile import Part, Profile
from tests.integration.bulk import clips

pytestmark = [pytest.mark.ray, pytest.mark.fault, pytest.mark.timeout(1200)]

TWICE = Part(replicas=(2, 2), cpus=0.1, ongoing=16, queued=64, check=2.0, drain=60.0)
PAIRS = small(name="pairs", **dict.fromkeys(("ingress", *PARTS), TWICE))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips(tmp_path_factory.mktemp("clips"), 1)[0]


@pytest.fixture(scope="module")
def url(local_ray: None) -> Iterator[str]:
    from ray import serve as ray_serve

    yield http(_free())
    ray_serve.shutdown()


@pytest.fixture(scope="module")
def pairs(url: str, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Two replicas of everything."""
    with served(talker, tmp_path_factory.mktemp("spool"), PAIRS, url=url) as endpoint:
        yield endpoint


def test_a_replica_of_each_part_dies_under_load_and_no_request_fails(pairs: Endpoint, clip: Path) -> None:
    victims = dict(zip(range(20, 200, 40), ("decode", "vision", "language", "pixel", "ingress"), strict=True))
    asked = iter(range(200))

    def feed() -> bool:
        number = next(asked, None)
        if number in victims:
            pairs.kill(victims[number])
        return number is not None

    outcomes = asyncio.run(load.clients(pairs.url, clip, 4, feed))
    assert outcomes.statuses == {200: 200}
    for name in victims.values():
        for _ in until(120, f"two running replicas of {name}"):
            if pairs.running(name) == 2:
                break


def test_cancelled_requests_leave_nothing(pairs: Endpoint, clip: Path) -> None:
    async def leave(count: int) -> None:
        import httpx2

        async with httpx2.AsyncClient(base_url=pairs.url, timeout=600) as client:
            video = await load.upload(client, clip)
            body = {"video": video, "question": "who?", "every_frame": True, "stream": True}

            async def one(number: int) -> None:
                async with client.stream("POST", "/v1/answers", json=body) as response:
                    async for line in response.aiter_lines():
                        if line == ("event: text", "event: phrase", "event: masks")[number % 3]:
                            return

            for first in range(0, count, 4):
                await asyncio.gather(*(one(number) for number in range(first, first + 4)))

    asyncio.run(leave(24))
    for _ in until(180, "the end of cancelled work"):
        work = [pairs.inside(name, lambda part: part.station.gauge.load) for name in PARTS]
        kept = pairs.inside("ingress", lambda ingress: len(ingress.backend.inner.kept))
        if not any(load for loads in work for load in loads) and max(kept) <= PAIRS.sessions:
            break
    riding = pairs.inside("language", lambda part: (len(part.own.engine._riding), len(part.own.engine._waiting)))
    assert riding == [(0, 0), (0, 0)]


def test_a_rolling_update_under_load_fails_no_request(pairs: Endpoint, clip: Path, talker: Path) -> None:
    """Everything is replaced: a setting that reaches each constructor changes."""
    before = {name: {str(actor) for actor in pairs.replicas(name)} for name in PARTS}
    updated = replace(PAIRS, retry_after=3.0)
    [spool] = set(pairs.inside("decode", lambda part: part.setup.spool))

    def replace_all() -> None:
        """Serve may call an application running that has not begun to change: those who were there have to be gone."""
        deploy(talker, Path(spool), updated)
        for _ in until(600, "the last replica of before left, its successor running"):
            left = any(before[name] & {str(actor) for actor in pairs.replicas(name)} for name in PARTS)
            if not left and all(pairs.running(name) == 2 for name in PARTS):
                return

    async def both() -> load.Outcomes:
        update = asyncio.ensure_future(asyncio.to_thread(replace_all))
        outcomes = await load.clients(pairs.url, clip, 3, lambda: not update.done())
        await update
        return outcomes

    outcomes = asyncio.run(both())
    assert outcomes.statuses == {200: len(outcomes.all)}
    assert len(outcomes.all) > 3
    for name in PARTS:
        assert pairs.inside(name, lambda part: part.setup.profile.retry_after) == [3.0, 3.0]


def test_a_flood_is_refused_with_a_word_when_to_come_again(url: str, talker: Path, clip: Path, tmp_path: Path) -> None:
    narrow = Part(cpus=0.15, ongoing=2, queued=2)
    profile: Profile = small(name="narrow", **dict.fromkeys(("ingress", *PARTS), narrow))
    with served(talker, tmp_path, profile, app="narrow", url=f"{url}/narrow"):
        outcomes = asyncio.run(load.clients(f"{url}/narrow", clip, 12, load.requests(120), retry=False))
    assert set(outcomes.statuses) <= {200, 429, 503}
    assert outcomes.failed == 0, "each refusal says when to come again"
    assert outcomes.statuses[200] >= 4
    assert outcomes.statuses.get(503, 0) + outcomes.statuses.get(429, 0) > 0


@pytest.fixture
def short() -> Iterator[str]:
    """A folder for Ray with a short name: its sockets lie deep inside and a socket's path has at most 107 letters."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield folder


def test_the_command_starts_all_and_ctrl_c_leaves_nothing(
    talker: Path, clip: Path, tmp_path: Path, repository: Path, short: str
) -> None:
    port = _free()
    words = ["-c", "from vglamm.cli import main; main()", "serve", "--model", str(talker), "--port", str(port)]
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, *words, "--spool", str(tmp_path / "spool"), "--tracking", "off"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository), "RAY_TMPDIR": short},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"http://127.0.0.1:{port}"
        answer = asyncio.run(load.clients(f"http://127.0.0.1:{port}", clip, 1, load.requests(1)))
        assert answer.statuses == {200: 1}
        assert _listens(port) == {"127.0.0.1"}
        session = {pid for pid in _session(process.pid) if pid != process.pid}
        assert session, "Ray runs in this session"
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(300)
        if process.stdout is not None:
            process.stdout.close()
    assert status == 130
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(_alive(pid) for pid in session):
        time.sleep(0.5)
    assert not [pid for pid in session if _alive(pid)], "processes were left"


def _listens(port: int) -> set[str]:
    """The addresses at which something of this machine listens on a port."""
    import psutil

    return {found.laddr.ip for found in psutil.net_connections("tcp") if found.status == "LISTEN" and found.laddr.port == port}


def _session(leader: int) -> set[int]:
    """Processes that a process started, and those they started."""
    import psutil

    return {child.pid for child in psutil.Process(leader).children(recursive=True)}


def _alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
