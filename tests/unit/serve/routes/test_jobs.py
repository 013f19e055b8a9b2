"""Jobs: progress, result, cancel, expiry; and that they outlive the replica that works on them."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve.contract import Ask, Event
from serve.ingress import api, well
from serve.settings import Kept, Settings
from serve.store.jobs import CANCEL
from tests.unit.serve.canned import RAW, TEXT, Canned, spooled
from vglamm.errors import DialogueError, Overloaded, VglammError, WorkerLost

Connect = Callable[..., TestClient]


def submit(client: TestClient, video: str, **more: Any) -> str:
    response = client.post("/v1/jobs", json={"video": video, "question": "who?"} | more)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{response.json()['job']}"
    assert response.json()["status"] == "queued"
    return str(response.json()["job"])


def ended(client: TestClient, job: str) -> dict[str, Any]:
    """The job once it has ended, looked at again and again as a client would."""
    while True:
        told = dict(client.get(f"/v1/jobs/{job}").json())
        if told["status"] not in ("queued", "running"):
            return told


def test_a_job_is_answered_in_the_background(client: TestClient, canned: Canned, video: str) -> None:
    job = submit(client, video, fps=2, mode="frames", max_new_tokens=9)
    told = ended(client, job)
    assert (told["status"], told["attempts"], told["error"]) == ("done", 1, None)
    assert told["progress"] == {"text": RAW, "frames": 12, "share": 1.0}
    assert told["result"] == f"/v1/jobs/{job}/result"
    body = client.get(told["result"]).json()
    assert (body["answer"]["text"], body["session"], body["video"]) == (TEXT, None, video)
    assert (canned.asks[0].sampling.fps, canned.asks[0].writing.max_new_tokens) == (2.0, 9)
    assert [one["job"] for one in client.get("/v1/jobs").json()] == [job]
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404


def test_an_upload_may_come_with_it(client: TestClient, clip: Path) -> None:
    response = client.post("/v1/jobs", data={"question": "who?"}, files={"file": clip.read_bytes()})
    assert response.status_code == 202
    assert ended(client, response.json()["job"])["status"] == "done"


def test_an_upload_goes_with_the_job_that_is_refused(connect: Connect, clip: Path, tmp_path: Path) -> None:
    client = connect(kept=Kept(jobs=0))
    for question, status in (("w" * 4001, 422), ("who?", 503)):
        response = client.post("/v1/jobs", data={"question": question}, files={"file": clip.read_bytes()})
        assert response.status_code == status, response.text
        assert spooled(tmp_path / "spool") == []


def test_what_fails_is_told(client: TestClient, canned: Canned, video: str) -> None:
    canned.fail = DialogueError("/srv/x", "y", "z")
    job = submit(client, video)
    told = ended(client, job)
    assert (told["status"], told["error"]["code"]) == ("failed", "dialogue_error")
    assert told["error"]["message"] == "got the file; expected y; z"
    response = client.get(f"/v1/jobs/{job}/result")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_kept")


def test_a_bug_fails_its_job_and_no_other(client: TestClient, canned: Canned, video: str) -> None:
    canned.fail = KeyError("/etc/secret")
    told = ended(client, submit(client, video))
    assert (told["status"], told["error"]["code"]) == ("failed", "internal_error")
    canned.fail = None
    assert ended(client, submit(client, video))["status"] == "done"


FULL = Overloaded("more requests than may wait", "fewer at a time", "come again later", 0.2)
LOST = WorkerLost("a replica that was lost", "one that lives", "ask again")


def failing(canned: Canned, monkeypatch: pytest.MonkeyPatch, *errors: VglammError) -> list[float]:
    """The first questions fail so; when each was asked, in seconds."""
    answer, asked = canned.stream, list[float]()

    async def stream(ask: Ask) -> AsyncGenerator[Event, None]:
        asked.append(time.time())
        if len(asked) <= len(errors):
            raise errors[len(asked) - 1]
        async with aclosing(answer(ask)) as events:
            async for event in events:
                yield event

    monkeypatch.setattr(canned, "stream", stream)
    return asked


def test_a_full_queue_puts_a_job_off(client: TestClient, canned: Canned, video: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing(canned, monkeypatch, *[FULL] * 4)  # more often than there are attempts
    told = ended(client, submit(client, video))
    assert (told["status"], told["attempts"], told["error"]) == ("done", 1, None)
    assert len(asked) == 5
    assert all(after - before >= FULL.retry_after for before, after in itertools.pairwise(asked))


def test_queues_that_stay_full_end_a_job_once_it_is_too_old(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, settings)
    client = TestClient(app)
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    job, spool = submit(client, video), app.state.desk.spool
    spool.write("jobs", job, spool.read("jobs", job) | {"refused": time.time() - settings.kept.seconds})
    canned.refuse = FULL
    with TestClient(api(canned, settings)) as second:
        told = ended(second, job)
    assert (told["status"], told["error"]["code"], len(canned.asks)) == ("failed", "overloaded", 1)


def test_a_job_that_was_put_off_is_left_alone_until_it_is_due(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, settings)
    client = TestClient(app)
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    job, spool = submit(client, video), app.state.desk.spool
    spool.write("jobs", job, spool.read("jobs", job) | {"due": time.time() + 3600})
    with TestClient(api(canned, settings)) as second:
        assert ended(second, submit(second, video))["status"] == "done"
        assert second.get(f"/v1/jobs/{job}").json()["status"] == "queued"
        assert second.delete(f"/v1/jobs/{job}").status_code == 204
        assert ended(second, job)["status"] == "cancelled"
    assert len(canned.asks) == 1


def test_a_wish_to_cancel_that_nobody_heard_is_seen_before_a_job_is_begun(settings: Settings, canned: Canned, clip: Path) -> None:
    """Another replica held its lease then, to find a full queue."""
    app = api(canned, settings)
    client = TestClient(app)
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    job = submit(client, video)
    app.state.desk.spool.write("jobs", job, {}, CANCEL)
    with TestClient(api(canned, settings)) as second:
        assert ended(second, job)["status"] == "cancelled"
    assert canned.asks == []


@pytest.mark.parametrize(("lost", "status"), [(2, "done"), (3, "failed")])
def test_a_job_whose_parts_die_is_tried_again(
    connect: Connect, canned: Canned, clip: Path, monkeypatch: pytest.MonkeyPatch, lost: int, status: str
) -> None:
    asked = failing(canned, monkeypatch, *[LOST] * lost)
    client = connect(kept=Kept(lease_seconds=1.0, attempts=3))
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    told = ended(client, submit(client, video))
    assert (told["status"], told["attempts"], len(asked)) == (status, 3, 3)
    assert told["error"] is None if status == "done" else told["error"]["code"] == "worker_lost"


def test_cancel_stops_the_work_at_its_step(client: TestClient, canned: Canned, video: str) -> None:
    canned.held = True
    canned.go_on(10)
    job = submit(client, video)
    assert all(canned.stepped.acquire(timeout=60) for _ in range(10))
    assert client.get(f"/v1/jobs/{job}/result").status_code == 409
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert canned.ended.acquire(timeout=60)
    assert (canned.steps, canned.open) == (10, 0)
    assert ended(client, job)["status"] == "cancelled"


def test_a_job_that_waits_is_cancelled_before_it_begins(client: TestClient, canned: Canned, video: str) -> None:
    canned.held = True
    first, second = submit(client, video), submit(client, video)
    assert canned.opened.acquire(timeout=60)
    assert client.delete(f"/v1/jobs/{second}").status_code == 204
    assert ended(client, second)["status"] == "cancelled"
    canned.go_on()
    assert ended(client, first)["status"] == "done"
    assert len(canned.asks) == 1


def test_so_many_may_wait(connect: Connect, canned: Canned, clip: Path) -> None:
    canned.held = True
    client = connect(kept=Kept(jobs=2))
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    jobs = [submit(client, video) for _ in range(2)]
    response = client.post("/v1/jobs", json={"video": video, "question": "who?"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    canned.go_on()
    assert [ended(client, job)["status"] for job in jobs] == ["done", "done"]


def test_a_job_survives_the_death_of_its_replica(settings: Settings, canned: Canned, clip: Path, repository: Path) -> None:
    kept = Kept(lease_seconds=1.0)
    first = TestClient(api(canned, settings))  # without a lifespan, it takes jobs in and does none
    video = first.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    job = submit(first, video)
    command = [sys.executable, "-m", "tests.unit.serve.replica", settings.spool, str(kept.lease_seconds)]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE) as replica:
        assert replica.stdout is not None
        assert replica.stdout.readline() == b"began\n"
        told = first.get(f"/v1/jobs/{job}").json()
        assert (told["status"], told["attempts"]) == ("running", 1)
        replica.kill()
    with TestClient(api(canned, replace(settings, kept=kept))) as second:
        told = ended(second, job)
    assert (told["status"], told["attempts"]) == ("done", 2)
    assert told["progress"]["text"] == RAW


def test_replicas_do_not_work_on_one_job_twice(settings: Settings, canned: Canned, clip: Path) -> None:
    other = Canned(settings.spool)
    quick = replace(settings, kept=Kept(lease_seconds=12.0))  # longer than a busy machine stalls
    with TestClient(api(canned, quick)) as one, TestClient(api(other, quick)) as two:
        video = one.post("/v1/videos", content=clip.read_bytes()).json()["video"]
        jobs = [submit(one, video) for _ in range(4)]
        assert [ended(two, job)["attempts"] for job in jobs] == [1, 1, 1, 1]
    assert len(canned.asks) + len(other.asks) == 4


def test_a_job_that_its_replicas_die_of_is_given_up(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, settings)
    client = TestClient(app)
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    job = submit(client, video)
    spool = app.state.desk.spool
    spool.write("jobs", job, spool.read("jobs", job) | {"status": "running", "attempts": settings.kept.attempts})
    with TestClient(api(canned, settings)) as second:
        told = ended(second, job)
    assert (told["status"], told["error"]["code"], canned.asks) == ("failed", "worker_lost", [])


def test_a_replica_that_ends_in_order_gives_its_job_back(settings: Settings, canned: Canned, clip: Path) -> None:
    canned.held = True
    with TestClient(api(canned, settings)) as first:
        video = first.post("/v1/videos", content=clip.read_bytes()).json()["video"]
        job = submit(first, video)
        assert canned.opened.acquire(timeout=60)
    assert canned.open == 0
    told = TestClient(api(canned, settings)).get(f"/v1/jobs/{job}").json()
    assert (told["status"], told["attempts"]) == ("queued", 0)
    canned.held = False
    with TestClient(api(canned, settings)) as second:
        assert (ended(second, job)["status"], ended(second, job)["attempts"]) == ("done", 1)


def test_a_record_that_cannot_be_read_stops_no_other_job(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, replace(settings, kept=Kept(lease_seconds=0.2)))
    with TestClient(app) as client:
        video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
        broken = Path(settings.spool, "jobs", "j-" + "0" * 32 + ".json")
        broken.write_text("{")
        assert well(app)
        broken.unlink()
        assert ended(client, submit(client, video))["status"] == "done"
        app.state.tasks[1].cancel()
        while well(app):
            client.get("/healthz")


def test_jobs_expire_once_they_ended(settings: Settings, canned: Canned, clip: Path) -> None:
    app = api(canned, replace(settings, kept=Kept(seconds=100.0)))
    client, desk, folder = TestClient(app), app.state.desk, Path(settings.spool)
    video = client.post("/v1/videos", content=clip.read_bytes()).json()["video"]
    old, young, waits = (submit(client, video) for _ in range(3))
    for job in (old, young):
        desk.spool.write("jobs", job, desk.spool.read("jobs", job) | {"status": "done"})
    for kind, name in (("jobs", old), ("jobs", waits), ("videos", video)):
        os.utime(folder / kind / f"{name}.json", (0, 0))
    desk.videos._touched.clear()  # as an hour later
    asyncio.run(desk.jobs.expire())
    asyncio.run(desk.videos.expire())
    assert spooled(folder, "jobs") == sorted(f"{job}.json" for job in (young, waits))
    assert spooled(folder) == [video, f"{video}.json"]


@pytest.mark.parametrize("body", [{"question": "who?"}, {"question": "who?", "video": "x", "stream": True}, {"video": "x"}, []])
def test_a_wrong_job_is_refused(client: TestClient, body: Any) -> None:
    assert client.post("/v1/jobs", json=body).status_code == 422
