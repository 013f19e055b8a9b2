"""Videos by their address: from allowed hosts only, each name resolved once and that address connected to, nothing of the inside.

Checking a name and then asking a client to fetch it would resolve it twice, and a host that redirects would be followed to wherever
it points. So every hop is taken here: parse, allow, resolve, check each address, connect to the checked one with the name only in
``Host`` and in TLS; a redirect begins again from the start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import httpx2

from serve.settings import Fetching
from vglamm.errors import RequestTooLarge, UrlRefused, VideoNotFound, VideoUnreadable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]{1,2048}")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_FIX = "upload the video, or have its host allowed"


class Fetcher:
    """policy: what may be fetched. limit: bytes. resolve, allowed: how names become addresses, and which of these are of the
    outside."""

    def __init__(
        self,
        policy: Fetching,
        limit: int,
        *,
        resolve: Resolve | None = None,
        allowed: Callable[[IpAddress], bool] | None = None,
    ) -> None:
        self.policy, self.limit = policy, limit
        self._resolve, self._allowed = resolve or resolved, allowed or is_public

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """The bytes at an address. UrlRefused, VideoNotFound, VideoUnreadable or RequestTooLarge."""
        until = asyncio.get_running_loop().time() + self.policy.seconds
        async with aclosing(self._hops(url)) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(until):  # never while the caller has a chunk: the timeout would hit what it does
                        chunk = await anext(chunks, None)
                except TimeoutError as error:
                    raise VideoUnreadable(
                        "an address whose video takes too long to come", f"all of it in {self.policy.seconds:g} s", "upload it"
                    ) from error
                if chunk is None:
                    return
                yield chunk

    async def _hops(self, url: str) -> AsyncGenerator[bytes, None]:
        for _ in range(self.policy.redirects + 1):
            target = self._parsed(url)
            address = await self._pinned(target)
            async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=self.policy.seconds) as client:
                request = client.build_request(
                    "GET",
                    target.copy_with(host=str(address)),
                    headers={"Host": target.netloc.decode(), "Accept-Encoding": "identity", "User-Agent": "vglamm"},
                    extensions={"sni_hostname": named(target)},
                )
                try:
                    response = await client.send(request, stream=True)
                    if response.has_redirect_location:
                        url = str(target.join(response.headers["location"]))
                        continue
                    async for chunk in self._body(response):
                        yield chunk
                    return
                except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                    raise VideoUnreadable("an address that cannot be read", "one that answers with a video", "check it") from error
        raise UrlRefused(f"an address that redirects {self.policy.redirects + 1} times", "fewer", "name the last one")

    async def _body(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        if response.status_code != 200:
            raise VideoNotFound(f"an address that answers {response.status_code}", "a video, with 200", "check it")
        size = 0
        declared = response.headers.get("content-length", "0")
        async for chunk in response.aiter_raw(64 * 1024):
            size += len(chunk)
            if size > self.limit or (declared.isdecimal() and int(declared) > self.limit):
                raise RequestTooLarge(f"an address with more than {self.limit} bytes", f"at most {self.limit}", "shorten the video")
            yield chunk

    def _parsed(self, text: str) -> httpx2.URL:
        """An address that the policy allows, by its letters."""
        if not self.policy.hosts:
            raise UrlRefused("a video by its address", "an upload, a data URL or an id", "have this switched on, or upload it")
        if not _URL.fullmatch(text) or "\\" in text:
            raise UrlRefused("an address that is not plainly written", "https://host/path", _FIX)
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL as error:
            raise UrlRefused("an address that is none", "https://host/path", _FIX) from error
        if url.scheme not in self.policy.schemes:
            raise UrlRefused(f"an address of scheme {url.scheme[:20]}", f"{', '.join(self.policy.schemes)}", _FIX)
        if url.userinfo:
            raise UrlRefused("an address with a user name", "one without", "keep credentials out of addresses")
        if (url.port or {"http": 80, "https": 443}.get(url.scheme)) not in self.policy.ports:
            raise UrlRefused(f"port {url.port}", f"one of {', '.join(map(str, self.policy.ports))}", _FIX)
        if not any(fits(named(url), pattern) for pattern in self.policy.hosts):
            raise UrlRefused("a host that is not allowed", "one that the server's owner allowed", _FIX)
        return url

    async def _pinned(self, url: httpx2.URL) -> IpAddress:
        """The one address to connect to. All that the name has must be of the outside: whoever mixes them means the inside."""
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in await self._resolve(named(url), url.port or 443)]
        except (OSError, ValueError) as error:
            raise VideoNotFound("a host without an address", "one that resolves", "check its name") from error
        if not found or not all(self._allowed(address) for address in found):
            raise UrlRefused("a host of the inside", "one of the public internet", _FIX)
        return found[0]


def named(url: httpx2.URL) -> str:
    """The host as it is on the wire, ``xn--...`` for a name of other letters: ``url.host`` has those, which no header may have."""
    return url.raw_host.decode("ascii")


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system tells them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def fits(host: str, pattern: str) -> bool:
    """Whether a host is the allowed one, or below it for ``.example.org``."""
    host, pattern = host.lower().rstrip("."), pattern.lower()
    return host.endswith(pattern) and len(host) > len(pattern) if pattern.startswith(".") else host == pattern


def is_public(address: IpAddress) -> bool:
    """Whether an address is of the public internet: not private, loopback, link-local (where clouds keep their metadata), shared,
    multicast or reserved; an IPv6 address that carries an IPv4 one counts as that."""
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo
        carried = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if address in _NAT64 or int(address) >> 32 == 0:  # NAT64, and the old "IPv4-compatible" form
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(carried)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
