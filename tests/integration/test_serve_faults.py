"""What dies, floods, leaves or is replaced: the endpoint over HTTP. Short forms; ``make soak`` has the long ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vglamm
from benchmarks.report import Row
from benchmarks.serving import load, trials
from benchmarks.serving.endpoint import Endpoint, deploy, free_port, http, served, until
from benchmarks.serving.trials import NARROW, PAIRS
from serve.client import Client
from serve.profile import SPLIT as PARTS
from serve.store.jobs import DONE, ENDED
from tests.integration.bulk import clips

pytestmark = [pytest.mark.ray, pytest.mark.fault, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips(tmp_path_factory.mktemp("clips"), 1)[0]


@pytest.fixture(scope="module")
def url(local_ray: None) -> Iterator[str]:
    from ray import serve as ray_serve

    yield http(free_port())
    ray_serve.shutdown()


@pytest.fixture(scope="module")
def pairs(url: str, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Two replicas of everything."""
    with served(talker, tmp_path_factory.mktemp("spool"), PAIRS, url=url) as endpoint:
        yield endpoint


def reached(rows: list[Row]) -> None:
    """All goals; what was found where one is missed."""
    assert [f"{row.what}: {row.found.text(row.unit)}, goal {row.goal}" for row in rows if not row.reached] == []


def test_a_replica_of_each_part_dies_under_load_and_no_request_fails(pairs: Endpoint, clip: Path) -> None:
    """``make soak`` holds 20 s. Beside other programs a replica waits for a core; what it does with it is held here too."""
    reached(trials.killed(pairs, clip, 200, within=60.0))


def test_cancelled_requests_leave_nothing(pairs: Endpoint, clip: Path) -> None:
    reached(trials.left(pairs, clip, 200))


def test_hundreds_of_requests_leave_memory_and_files_as_they_were(pairs: Endpoint, clip: Path) -> None:
    reached(trials.endured(pairs, clip, 150))


def tracks_and_dies(pixel: Any) -> None:
    if pixel.station.gauge.load:
        os._exit(1)


def has_the_job_and_dies(ingress: Any) -> None:
    if ingress.routes.state.desk.jobs._running:
        os._exit(1)


@pytest.mark.parametrize(("part", "death", "attempts"), [("pixel", tracks_and_dies, 1), ("ingress", has_the_job_and_dies, 2)])
def test_a_job_outlives_the_replica_that_works_on_it(
    pairs: Endpoint, talker: Path, tmp_path: Path, part: str, death: Callable[[Any], None], attempts: int
) -> None:
    """What pixel loses is the walk's to ask for again; what the ingress loses is done by another one when the lease is over."""
    [film] = clips(tmp_path, 1, frames=300)
    with Client(pairs.url) as client:
        job = client.submit(client.upload(film), "who?", every_frame=True)
        for _ in until(120, "the first masks of the job", pairs.state):
            if client.job(job)["progress"]["frames"]:
                break
        assert len(pairs.inside(part, death)) == 1, "one of two is dead"
        for _ in until(240, "the end of the job", pairs.state):
            told = client.job(job)
            if told["status"] in ENDED:
                break
        assert (told["status"], told["error"], told["attempts"]) == (DONE, None, attempts)
        answer = client.result(job).answer
    own = vglamm.load(talker).ask(film, "who?", every_frame=True)
    assert replace(answer, timings={}, source="") == replace(own, timings={}, source="")


def test_a_rolling_update_under_load_fails_no_request(pairs: Endpoint, clip: Path, talker: Path) -> None:
    """Everything is replaced: a setting that reaches each constructor changes."""
    before = {name: {str(actor) for actor in pairs.replicas(name)} for name in PARTS}
    updated = replace(PAIRS, retry_after=3.0)
    [spool] = set(pairs.inside("decode", lambda part: part.setup.spool))

    def replace_all() -> None:
        """Serve may call an application running that has not begun to change: those who were there have to be gone."""
        deploy(talker, Path(spool), updated)
        for _ in until(600, f"the last replica of {before} left, its successor running", pairs.state):
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
    """``make soak`` holds who is admitted to the profile's bound. Here fifty clients a second share two cores with the endpoint: 7
    to 12 idle times were seen where the bound is 9. A queue that grew would make it dozens."""
    with served(talker, tmp_path, NARROW, app="narrow", url=f"{url}/narrow") as endpoint:
        reached(trials.flooded(endpoint, clip, NARROW, 12.0, within=2.0))


@pytest.fixture
def short() -> Iterator[str]:
    """A folder for Ray with a short name: its sockets lie deep inside and a socket's path has at most 107 letters."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield folder


def test_the_command_starts_all_and_ctrl_c_leaves_nothing(
    talker: Path, clip: Path, tmp_path: Path, repository: Path, short: str
) -> None:
    """Nothing but an MLflow run, which a start has unless told otherwise, with what was asked."""
    from mlflow import MlflowClient

    port = free_port()
    words = ["-c", "from vglamm.cli import main; main()", "serve", "--model", str(talker), "--port", str(port)]
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, *words, "--spool", str(tmp_path / "spool")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        | {"PYTHONPATH": str(repository), "RAY_TMPDIR": short},
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
    books = MlflowClient(f"sqlite:///{tmp_path / 'out/serve/mlflow.db'}")
    (run,) = books.search_runs([found.experiment_id for found in books.search_experiments()])
    assert (run.info.status, run.data.metrics["requests"]) == ("FINISHED", 2)  # one to warm up


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

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
