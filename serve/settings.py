"""What the HTTP side of the endpoint is told: where it listens and to whom, what it takes in, and what it keeps and how long."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace

from vglamm.errors import ConfigError
from vglamm.media.limits import Limits

LOOPBACK = "127.0.0.1"
MIB = 1024**2
_TOKEN = 16


@dataclass(frozen=True)
class Tls:
    """Files of PEM, passed on to the HTTP server; the key has no password. Ray Serve's proxy asks no client for a certificate."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Taken:
    """What one request may bring. media: of a video or image. json: bytes of a JSON body. question: characters. parts, part: of a
    form, how many and bytes of each but the file. idle_seconds: from one piece of a body, or of a response, to the next.
    bytes_per_second: of a body on the average, once ``idle_seconds`` are over. in_flight: requests of one client at a time."""

    media: Limits = field(
        default_factory=lambda: Limits(
            bytes=512 * MIB, pixels=4096 * 2304, frames=36_000, seconds=1200.0, fps=240.0, streams=16, memory=2048 * MIB,
            cpu_seconds=60, stall_seconds=30.0, offline=True,
        )
    )  # fmt: skip
    json: int = 64 * MIB
    question: int = 4000
    parts: int = 32
    part: int = 64 * 1024
    idle_seconds: float = 20.0
    bytes_per_second: int = 32 * 1024
    in_flight: int = 16


@dataclass(frozen=True)
class Kept:
    """What the spool keeps. seconds: videos, sessions and results, since they were last used. sessions, turns (of a session),
    jobs: how many at most. bytes: of all videos together. lease_seconds: after which a replica that is silent counts as dead.
    attempts: at a job, when replicas die of it or answers break off. at_once: jobs that one replica works on."""

    seconds: float = 3600.0
    sessions: int = 256
    turns: int = 32
    jobs: int = 256
    bytes: int = 16 * 1024 * MIB
    lease_seconds: float = 15.0
    attempts: int = 3
    at_once: int = 1


@dataclass(frozen=True)
class Fetching:
    """Which addresses videos are fetched from; without hosts, none. hosts: exact names, or ``.example.org`` for all below it.
    seconds: for the whole. The bytes are bounded as those of uploads."""

    hosts: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = (80, 443)
    redirects: int = 3
    seconds: float = 60.0


@dataclass(frozen=True)
class Settings:
    """spool: a folder, or an address of fsspec's that all replicas reach. host: another than loopback needs a token. token: asked
    of every request but those for health. names: further host names that clients may use for this server."""

    spool: str
    host: str = LOOPBACK
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    tls: Tls | None = None
    taken: Taken = field(default_factory=Taken)
    kept: Kept = field(default_factory=Kept)
    fetching: Fetching = field(default_factory=Fetching)

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"the address {self.host} without a token", "a token, or an address of this machine alone", "pass --token-file"
            )
        if self.token is not None and (len(self.token) < _TOKEN or not self.token.isascii() or not self.token.isprintable()):
            raise ConfigError(
                f"a token of {len(self.token)} characters", f"at least {_TOKEN}, printable ASCII", "make one: openssl rand -hex 32"
            )

    def check(self, host: str | None) -> None:
        """ConfigError if the server listens at an address that needs a token, whatever was said here: a Serve config has its own
        ``http_options``. None: it does not listen."""
        if host is not None:
            replace(self, host=host)


def is_loopback(host: str) -> bool:
    """Whether a name or address to listen at is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
