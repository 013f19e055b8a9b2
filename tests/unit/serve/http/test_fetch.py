"""Addresses that are not to be fetched: none of their shapes reaches a server that counts, and what is allowed still comes."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serve.http.fetch import Fetcher, fits, is_public
from serve.settings import Fetching
from vglamm.errors import RequestTooLarge, UrlRefused, VglammError, VideoNotFound, VideoUnreadable

BODY = b"a video" * 1000


class Inside(ThreadingHTTPServer):
    """A server of the inside on all addresses of this machine. hits: paths that were asked for, with the Host they named."""

    daemon_threads = True

    def __init__(self) -> None:
        self.hits: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Inside

    def do_GET(self) -> None:
        self.server.hits.append((self.path, self.headers["Host"]))
        kind, _, rest = self.path[1:].partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
            return
        self.send_response(int(kind) if kind.isdigit() else 200)
        if kind != "endless":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        try:
            self.wfile.write(BODY)
            while kind == "endless":
                self.wfile.write(BODY)
        except ConnectionError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with Inside() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def port(inside: Inside) -> int:
    inside.hits.clear()
    return inside.server_port


HOSTS = (
    "evil.example", "rebind.example", "metadata.example", ".below.example", "127.0.0.1", "localhost", "2130706433", "0x7f000001",
    "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1", "203.0.113.1", "::1", "::",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fe80::1",
    "fc00::1", "fec0::1", "ff02::1", "2001:0:7f00:1::80ff:fffe", "2001:db8::1", "fd00:ec2::254", "kubernetes.default.svc",
    "127.0.0.1.below.example", "Ｌocalhost",
)  # fmt: skip
"""Allowed by name on purpose, so that what refuses them is where they lead."""

NAMED = {
    "evil.example": ["127.0.0.1"],
    "rebind.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "127.0.0.1.below.example": ["::ffff:127.0.0.1"],
}

SHAPES = [
    *(f"http://{host}:PORT/x" for host in HOSTS if ":" not in host and not host.startswith(".")),
    *(f"http://[{host}]:PORT/x" for host in HOSTS if ":" in host),
    "http://user:secret@evil.example:PORT/x",
    "http://127.0.0.1:PORT\\@evil.example/x",
    "http://evil.example:PORT#@127.0.0.1/x",
    "http:/\t/127.0.0.1:PORT/x",
    "http://127.0.0.1:PORT/\r\nHost: x",
    "//127.0.0.1:PORT/x",
    "http:127.0.0.1:PORT/x",
    "ftp://127.0.0.1:PORT/x",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/x",
    "concat:http://127.0.0.1:PORT/x|http://127.0.0.1:PORT/y",
    "subfile,,start,0,end,9,,:http://127.0.0.1:PORT/x",
    "crypto:http://127.0.0.1:PORT/x",
    "hls+http://127.0.0.1:PORT/x.m3u8",
    "tcp://127.0.0.1:PORT",
    "http://allowed.example:22/x",
    "http://other.example:PORT/x",
    "https://",
    "http://[::1",
    "http://",
    "",
]


async def resolve(host: str, port: int) -> list[str]:
    """What a hostile name server says of names; numbers in any writing as the system reads them."""
    from serve.http.fetch import resolved

    return NAMED[host] if host in NAMED else await resolved(host, port)


def policy(port: int, **changed: Any) -> Fetching:
    return replace(Fetching(hosts=HOSTS, schemes=("http", "https"), ports=(80, 443, port), seconds=30.0), **changed)


def fetched(fetcher: Fetcher, url: str) -> bytes:
    async def all_of_it() -> bytes:
        return b"".join([chunk async for chunk in fetcher.stream(url)])

    return asyncio.run(all_of_it())


def test_there_are_forty_shapes_and_more() -> None:
    assert len(set(SHAPES)) == len(SHAPES) >= 40


@pytest.mark.parametrize("shape", SHAPES)
def test_a_forbidden_address_is_not_fetched(inside: Inside, port: int, shape: str) -> None:
    fetcher = Fetcher(policy(port), 10**6, resolve=resolve)
    with pytest.raises((UrlRefused, VideoNotFound)):
        fetched(fetcher, shape.replace("PORT", str(port)))
    assert inside.hits == []


def allowing(port: int, limit: int = 10**6, **changed: Any) -> Fetcher:
    """One that takes this machine for the outside, but no other address of the inside."""

    async def names(host: str, asked: int) -> list[str]:
        return {"films.example": ["127.0.0.1"], "evil.example": ["10.1.2.3"]}[host]

    hosts = ("films.example", "evil.example", "127.0.0.1")
    return Fetcher(
        policy(port, hosts=hosts, **changed),
        limit,
        resolve=names,
        allowed=lambda a: a == ipaddress.ip_address("127.0.0.1") or is_public(a),
    )


def test_what_is_allowed_comes_from_the_address_that_was_checked_under_its_own_name(inside: Inside, port: int) -> None:
    assert fetched(allowing(port), f"http://films.example:{port}/clip.mp4?x=1") == BODY
    assert inside.hits == [("/clip.mp4?x=1", f"films.example:{port}")]


@pytest.mark.parametrize(
    "to",
    [
        "http://evil.example:PORT/x",
        "http://169.254.169.254/latest",
        "http://[::1]:PORT/x",
        "file:///etc/passwd",
        "//evil.example:PORT/x",
    ],
)
def test_a_redirect_begins_again_from_the_start(inside: Inside, port: int, to: str) -> None:
    with pytest.raises(UrlRefused):
        fetched(allowing(port), f"http://films.example:{port}/to/{to.replace('PORT', str(port))}")
    assert len(inside.hits) == 1


def test_redirects_are_followed_so_often(inside: Inside, port: int) -> None:
    there = f"http://films.example:{port}"
    assert fetched(allowing(port), f"{there}/to/{there}/to/{there}/clip.mp4") == BODY
    inside.hits.clear()
    with pytest.raises(UrlRefused, match="redirects"):
        fetched(allowing(port, redirects=1), f"{there}/to/{there}/to/{there}/clip.mp4")
    assert len(inside.hits) == 2


@pytest.mark.parametrize("path", ["endless", "clip.mp4"])
def test_more_than_the_limit_is_broken_off(inside: Inside, port: int, path: str) -> None:
    with pytest.raises(RequestTooLarge):
        fetched(allowing(port, limit=5000), f"http://films.example:{port}/{path}")


def test_what_takes_too_long_is_broken_off(inside: Inside, port: int) -> None:
    with pytest.raises(VideoUnreadable, match="too long"):
        fetched(allowing(port, limit=10**12, seconds=0.2), f"http://films.example:{port}/endless")


def test_time_that_is_over_while_a_piece_is_written_is_told_and_not_a_cancelled_writer(inside: Inside, port: int) -> None:
    written: list[int] = []

    async def slow_writer() -> None:
        async for chunk in allowing(port, limit=10**12, seconds=0.5).stream(f"http://films.example:{port}/endless"):
            await asyncio.sleep(0.8)  # longer than the whole may take: the disk is slow, nothing is waited for
            written.append(len(chunk))

    with pytest.raises(VideoUnreadable, match="too long"):
        asyncio.run(slow_writer())
    assert len(written) == 1


@pytest.mark.parametrize(("path", "kind"), [("404/x", VideoNotFound), ("500/x", VideoNotFound), ("204/x", VideoNotFound)])
def test_other_answers_are_no_videos(port: int, path: str, kind: type[VglammError]) -> None:
    with pytest.raises(kind):
        fetched(allowing(port), f"http://films.example:{port}/{path}")


def test_without_hosts_nothing_is_fetched(inside: Inside, port: int) -> None:
    for url in (f"http://127.0.0.1:{port}/x", "https://films.example/x", "v-1"):
        with pytest.raises(UrlRefused):
            fetched(Fetcher(Fetching(), 10**6), url)
    assert inside.hits == []


def test_a_name_of_other_letters_is_looked_up_and_named_as_it_is_on_the_wire(inside: Inside, port: int) -> None:
    asked: list[str] = []

    async def names(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    fetcher = Fetcher(policy(port, hosts=(".xn--mller-kva.example",)), 10**6, resolve=names, allowed=lambda _: True)
    assert fetched(fetcher, f"http://a.xn--mller-kva.example:{port}/clip.mp4") == BODY
    assert inside.hits == [("/clip.mp4", f"a.xn--mller-kva.example:{port}")]
    assert asked == ["a.xn--mller-kva.example"]


def test_hosts_are_whole_names() -> None:
    assert fits("Films.Example.", "films.example")
    assert fits("a.films.example", ".films.example")
    assert not any(fits(host, ".films.example") for host in ("films.example", ".films.example", "evilfilms.example"))
    assert not any(fits(host, "films.example") for host in ("a.films.example", "films.example.evil", "ilms.example"))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_the_outside_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
