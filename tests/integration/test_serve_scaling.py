"""Replicas come and go with the work of a part, on an endpoint that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving import load
from benchmarks.serving.endpoint import Endpoint, free_port, http, served, small, until
from serve.client import Client
from serve.profile import Part
from tests.integration.bulk import clips

pytestmark = [pytest.mark.ray, pytest.mark.fault, pytest.mark.timeout(900)]

STILL = Part(cpus=0.1, ongoing=16, queued=64)
FRAMES = 40.0
PROFILE = small(
    name="scaling",
    ingress=STILL,
    decode=STILL,
    language=STILL,
    pixel=Part(replicas=(1, 2), cpus=0.1, ongoing=64, queued=64, batch=8, load=FRAMES, up=1.0, down=5.0, drain=60.0),
    vision=Part(replicas=(0, 1), cpus=0.1, ongoing=16, queued=64, load=64.0, up=0.0, down=5.0, drain=60.0),
)


@pytest.fixture(scope="module")
def endpoint(local_ray: None, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    from ray import serve as ray_serve

    with served(talker, tmp_path_factory.mktemp("spool"), PROFILE, url=http(free_port())) as found:
        yield found
    ray_serve.shutdown()


def waited(endpoint: Endpoint, part: str, replicas: int, seconds: float = 240.0) -> None:
    for _ in until(seconds, f"{replicas} replicas of {part}", endpoint.state):
        if endpoint.running(part) == replicas:
            return


def test_a_part_without_work_goes_and_comes_back_for_the_next_question(endpoint: Endpoint, tmp_path: Path) -> None:
    first, second = clips(tmp_path, 2)
    with Client(endpoint.url) as client:
        before = client.ask(first, "who?")
        waited(endpoint, "vision", 0)
        assert client.ask(second, "who?").answer.text == before.answer.text
    assert endpoint.running("vision") == 1


def test_frames_and_objects_not_requests_bring_a_second_replica(endpoint: Endpoint, tmp_path: Path) -> None:
    """Many short questions at a time are few frames: one replica of pixel is enough. Two long videos are many."""
    [short] = clips(tmp_path / "short", 1, frames=2)
    waited(endpoint, "pixel", 1)
    outcomes = asyncio.run(load.clients(endpoint.url, short, 8, load.requests(24)))
    assert len(outcomes.answered) == 24
    assert endpoint.running("pixel") == 1
    [film] = clips(tmp_path / "long", 1, frames=600)
    with Client(endpoint.url) as client:
        jobs = [client.submit(film, "who?", every_frame=True) for _ in range(2)]
        waited(endpoint, "pixel", 2)
        for job in jobs:
            client.cancel(job)
    waited(endpoint, "pixel", 1)
