"""Ray, Serve and the application, up and down: what ``vglamm serve`` does."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray import serve as ray_serve
from ray.exceptions import AuthenticationError
from ray.serve.config import HTTPOptions
from ray.serve.deployment import Application

from serve.app import NAME, Args, application
from serve.profile import load_profile
from serve.settings import LOOPBACK, Settings
from serve.tracking import REGISTRY
from vglamm.errors import EnvironmentProblem
from vglamm.identity import load_config

log = logging.getLogger(__name__)


@contextmanager
def running(args: Args, address: str | None = None) -> Iterator[str]:
    """The endpoint's URL while inside; afterwards requests in flight were let finish, and nothing is left. address: of a Ray
    cluster; without, that of the cluster which this process was submitted to, else a Ray of this machine alone.

    ConfigError or CheckpointError before anything starts, EnvironmentProblem if a part cannot start.
    """
    profile, settings = load_profile(args.profile), args.settings()
    for source in (args.model, *args.models.values()):
        if not source.startswith(REGISTRY):
            load_config(source)
    ours = connect(address)
    try:
        profile.check(ray.cluster_resources())
        ray_serve.start(proxy_location="HeadOnly" if ours else "EveryNode", http_options=http_options(settings))
        try:
            _run(application(args, profile, settings))
            yield url(settings)
        finally:
            ray_serve.shutdown()
    finally:
        if ours:
            ray.shutdown()


def _run(made: Application) -> None:
    try:
        ray_serve.run(made, name=NAME, route_prefix="/")
    except RuntimeError as error:  # Serve's word for a deployment that did not come up
        raise EnvironmentProblem(
            f"a part that does not start ({str(error).strip().splitlines()[-1][:300]})",
            "all parts of the profile",
            "see the log of its replica in the folder of Ray's session",
        ) from error


def connect(address: str | None) -> bool:
    """Be connected to a Ray; whether it is one of our own, which ends with this process. Its dashboard is on this machine's own
    address; its token authentication is on where :mod:`serve.protected` was imported first. EnvironmentProblem for a cluster of
    which this user has no token."""
    address = address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        return False
    if address:
        try:
            ray.init(address=address, log_to_driver=False)
        except AuthenticationError as error:
            raise EnvironmentProblem(
                f"a Ray cluster at {address} that does not take this user's token, or no token of Ray's",
                "a cluster that asks for tokens, and its token",
                "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN",
            ) from error
        return False
    ray.init(address="local", dashboard_host=LOOPBACK, log_to_driver=False)
    return True


def http_options(settings: Settings) -> HTTPOptions:
    """Where the proxy listens, and its TLS."""
    options = {"host": settings.host, "port": settings.port}
    if settings.tls is not None:
        options |= {"ssl_certfile": settings.tls.certificate, "ssl_keyfile": settings.tls.key}
    return HTTPOptions(**options)


def url(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls is None else 'https'}://{host}:{settings.port}"
