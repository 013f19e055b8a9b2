"""An endpoint on the Ray that this process is connected to, its replicas within reach."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import serve as ray_serve
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from serve.app import Args, application
from serve.profile import Part, Profile
from serve.settings import Settings

Result = TypeVar("Result")
SLOW = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "2.0",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "20.0",
}
"""For machines on which other programs run: of Serve's processes, before Ray starts."""


def small(**changes: Any) -> Profile:
    """All parts at a seventh of a CPU, with one replica each unless told otherwise."""
    part = Part(cpus=0.15, ongoing=16, queued=64, batch=4096, check=5.0, drain=30.0)
    parts = {"ingress": part, "whole": part, "pixel": replace(part, batch=32)}
    parts |= dict.fromkeys(("decode", "vision", "language"), replace(part, nice=5))  # as in the profile for machines without a GPU
    return Profile(**({"name": "small", "device": "cpu", **parts} | changes))


@dataclass(frozen=True)
class Endpoint:
    """app: its name. handle: of the ingress. url: "" without HTTP."""

    app: str
    handle: DeploymentHandle
    url: str = ""

    def replicas(self, deployment: str) -> list[Any]:
        """Actors of the replicas that live."""
        named = ray.util.list_named_actors(all_namespaces=True)
        prefix = f"SERVE_REPLICA::{self.app}#{deployment}#"
        return [ray.get_actor(**one) for one in named if one["name"].startswith(prefix)]

    def inside(self, deployment: str, work: Callable[[Any], Result]) -> list[Result]:
        """What ``work`` gives in each replica of a deployment, called with the deployment's object. One that Serve has given up may
        still bear its name: it is left out."""
        found = []
        for answer in [actor.__ray_call__.remote(_reach, work) for actor in self.replicas(deployment)]:
            with contextlib.suppress(RayActorError):
                found.append(ray.get(answer))
        return found

    def kill(self, deployment: str) -> None:
        """Kill one replica as a crash would: its process is gone between two instructions."""
        self.replicas(deployment)[0].__ray_call__.remote(lambda _: os._exit(1))

    def running(self, deployment: str) -> int:
        """Replicas that Serve counts as running."""
        found = ray_serve.status().applications[self.app].deployments[deployment]
        return int(found.replica_states.get("RUNNING", 0))

    def state(self) -> str:
        """What Serve says of each deployment, which replicas have a name, and what Ray has left: for who waits in vain."""
        found = ray_serve.status().applications[self.app]
        lines = [f"{self.app}: {found.status} {found.message}"]
        for name, one in found.deployments.items():
            lines.append(f"{name}: {one.status} {one.message} {one.replica_states} {[str(actor) for actor in self.replicas(name)]}")
        return "\n".join([*lines, f"of {ray.cluster_resources()} free: {ray.available_resources()}"])


def _reach(actor: Any, work: Callable[[Any], Result]) -> Result:
    return work(actor._replica_impl._user_callable_wrapper._callable)


def free_port() -> int:
    """A port of this machine at which nobody listens yet."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def http(port: int) -> str:
    """Start Serve with its HTTP proxy on this machine; the address."""
    ray_serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    return f"http://127.0.0.1:{port}"


@contextmanager
def served(
    model: Path | str, spool: Path | str, profile: Profile, *, app: str = "vglamm", url: str = "", **args: Any
) -> Iterator[Endpoint]:
    """An endpoint while inside."""
    deploy(model, spool, profile, app=app, **args)
    try:
        yield Endpoint(app, ray_serve.get_app_handle(app), url)
    finally:
        ray_serve.delete(app)


def deploy(model: Path | str, spool: Path | str, profile: Profile, *, app: str = "vglamm", **args: Any) -> None:
    """Bring an endpoint up, or bring one that runs to this profile."""
    given = Args(model=str(model), name="fake", spool=str(spool), **args)
    built = application(given, profile, Settings(spool=str(spool)))
    with _unseeded():
        ray_serve.run(built, name=app, route_prefix=f"/{app}" if app != "vglamm" else "/")


@contextmanager
def _unseeded() -> Iterator[None]:
    """Serve draws the versions of deployments from ``random``: seeded alike before each deployment, as tests are, it draws the old
    one again, and nothing is updated."""
    before = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(before)


def until(seconds: float, what: str, state: Callable[[], object] = lambda: "") -> Iterator[None]:
    """Polls until a deadline, which is an error. what: is waited for. state: tells how things stand then."""
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        yield
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not happen in {seconds:.0f} s. {state()}".rstrip(". ") + ".")
