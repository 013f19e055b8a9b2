"""The endpoint with its spool on a server that speaks S3: videos, answers, sessions and jobs are there, and expire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vglamm
from benchmarks.serving.endpoint import Endpoint, free_port, http, served, small, until
from serve.client import Client
from serve.http.desk import Desk
from serve.settings import Kept, Settings
from serve.store.jobs import DONE, ENDED
from tests.integration.bulk import clips
from tests.unit.serve.canned import Canned
from vglamm.answer import Answer
from vglamm.errors import NotKept, SessionGone
from vglamm.places import Place

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def bucket(s3: str) -> str:
    """A spool in a bucket of its own."""
    address = f"s3://spool/of/tests?{s3}"
    Place.of(address).system.create_dir("spool")
    return address


@pytest.fixture
def endpoint(local_ray: None, talker: Path, bucket: str) -> Iterator[Endpoint]:
    from ray import serve as ray_serve

    url = http(free_port())
    with served(talker, bucket, small(), url=url) as endpoint:
        yield endpoint
    ray_serve.shutdown()


def test_what_the_endpoint_keeps_is_on_s3_until_it_expires(endpoint: Endpoint, bucket: str, talker: Path, tmp_path: Path) -> None:
    [clip] = clips(tmp_path, 1)
    own = vglamm.load(talker).ask(clip, "who?", every_frame=True)
    with Client(endpoint.url) as client:
        video = client.upload(clip)
        first = client.ask(video, "who?", every_frame=True)
        assert content(first.answer) == content(own)
        assert first.session is not None
        assert client.ask(question="and now?", session=first.session).turn == 1
        job = client.submit(video, "who?", every_frame=True)
        for _ in until(120, "the end of the job", endpoint.state):
            if client.job(job)["status"] in ENDED:
                break
        assert client.job(job)["status"] == DONE
        assert content(client.result(job).answer) == content(own)
        assert kept(bucket) == {
            f"videos/{video}",
            f"videos/{video}.json",
            f"sessions/{first.session}.json",
            f"sessions/{first.session}/0.json",
            f"sessions/{first.session}/1.json",
            f"sessions/{first.session}/used.json",
            f"jobs/{job}.json",
            f"jobs/{job}/result.json",
        }
        asyncio.run(expire(bucket))
        assert kept(bucket) == set()
        with pytest.raises(SessionGone):
            client.ask(question="and now?", session=first.session)
        with pytest.raises(NotKept):
            client.ask(video, "who?")


async def expire(bucket: str) -> None:
    """What a replica does now and then, for which all of it was left too long."""
    desk = Desk.of(Canned(bucket), Settings(spool=bucket, kept=Kept(seconds=-2.0)))
    await desk.jobs.expire()
    await desk.sessions.expire()
    await desk.videos.expire()


def kept(bucket: str) -> set[str]:
    place = Place.of(bucket)
    return {path.removeprefix(f"{place.path}/") for path in place.files()}


def content(answer: Answer) -> Answer:
    """All that does not tell where and how fast it was made."""
    return replace(answer, timings={}, source="")
