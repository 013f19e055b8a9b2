"""What the tests of the routes share: a clip, the canned backend, and clients of an application over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve.ingress import api
from serve.settings import Settings
from tests.unit.media.clips import encode
from tests.unit.serve.canned import Canned

Client = TestClient


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 96 x 64 at 6 a second."""
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", numbers=range(12), rate=6, size=(96, 64))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(spool=str(tmp_path / "spool"), names=("testserver",))


@pytest.fixture
def canned(settings: Settings) -> Canned:
    return Canned(settings.spool, settings.taken.media)


@pytest.fixture
def connect(canned: Canned, settings: Settings) -> Iterator[Callable[..., Client]]:
    """Makes clients of an application; words are settings that differ."""
    opened: list[Client] = []

    def make(**changed: Any) -> Client:
        client = TestClient(api(canned, replace(settings, **changed)), raise_server_exceptions=False)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()


@pytest.fixture
def video(client: Client, clip: Path) -> str:
    """The id of the clip, uploaded."""
    return str(client.post("/v1/videos", content=clip.read_bytes()).json()["video"])
