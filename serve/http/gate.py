"""The gate before every route: request id, who may come in, how many at once, how much and how slowly a body may come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import BASIC, told
from serve.http.auth import OPEN, Guard
from serve.settings import Settings, Taken
from vglamm.errors import RequestTooLarge, RequestTooSlow, TooManyRequests, VglammError

log = logging.getLogger(__name__)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every response that does not say otherwise."""

PLAIN, FORMS = "/v1/videos", ("/v1/videos", "/v1/answers", "/v1/jobs")
"""The path that takes a video as its body, and those that take one in a form; both go to the spool as they come."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENVELOPE = 512 * 1024
"""Bytes of a form that are not its file's."""


class Hook(Protocol):
    """Told of every request when it is over. route: its template, as ``/v1/videos/{video}``; "" if there is none."""

    def __call__(self, route: str, method: str, status: int, seconds: float) -> None: ...


def unheard(route: str, method: str, status: int, seconds: float) -> None:
    """A hook for when nobody counts."""


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, hook: Hook = unheard) -> None:
        self.app, self.taken, self.hook, self.guard = app, settings.taken, hook, Guard(settings)
        self.in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["request_id"] = _request_id(headers)
        line = Line(scope, receive, send, self.taken, headers)
        began = time.monotonic()
        try:
            refusal = self.guard.refusal(scope["method"], path_of(scope), headers) or line.refusal()
            with self._counted(scope, refusal, line) as refused:
                if refused is not None:
                    said = told(refused)
                    if not path_of(scope).startswith("/v1/"):
                        said = replace(said, realm=BASIC)
                    await said.response(line.request_id)(scope, line.receive, line.send)
                else:
                    await self.app(scope, line.receive, line.send)
        finally:
            seconds = time.monotonic() - began
            route = getattr(scope.get("route"), "path", "")
            log.info("%s %s %s %d %.3f s", line.request_id, scope["method"], route or "-", line.status, seconds)
            self.hook(route, scope["method"], line.status, seconds)

    @contextlib.contextmanager
    def _counted(self, scope: Scope, refusal: VglammError | None, line: Line) -> Iterator[VglammError | None]:
        """A request is over for its client when the last piece is on its way: who has its answer may ask again at once."""
        client = (scope.get("client") or ("",))[0]
        if refusal is None and self.in_flight[client] >= self.taken.in_flight and path_of(scope) not in OPEN:
            refusal = TooManyRequests(
                f"{self.in_flight[client]} requests of one client at a time",
                f"at most {self.taken.in_flight}",
                "wait for one of them to end",
            )
        self.in_flight[client] += 1
        with contextlib.ExitStack() as line.place:
            line.place.callback(self._left, client)
            yield refusal

    def _left(self, client: str) -> None:
        self.in_flight[client] -= 1
        if not self.in_flight[client]:
            del self.in_flight[client]


class Line:
    """One request's bytes in both directions, measured. A client that does not read for too long counts as gone."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, taken: Taken, headers: Headers) -> None:
        self.request_id: str = scope["state"]["request_id"]
        self.status = 0
        self.received = 0
        self.limit = _limit(scope, headers, taken)
        self._declared = headers.get("content-length", "0")
        self._receive, self._send, self._taken = receive, send, taken
        self._began = time.monotonic()
        self._whole = False
        self._gone = asyncio.Event()
        self.place = contextlib.ExitStack()
        """What is given back when the last piece goes out."""

    def refusal(self) -> VglammError | None:
        """A body that says itself that it is too large."""
        if self._declared.isdecimal() and int(self._declared) > self.limit:
            return self._too_large(self._declared)
        return None

    async def receive(self) -> Message:
        if self._whole:
            return await self._until_gone()
        try:
            message = await asyncio.wait_for(self._receive(), self._patience())
        except TimeoutError as error:
            raise RequestTooSlow(
                f"a body of which {self.received} bytes came in {time.monotonic() - self._began:.0f} s",
                f"a piece every {self._taken.idle_seconds:g} s, and {self._taken.bytes_per_second} bytes a second",
                "send it faster",
            ) from error
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self.received > self.limit:
                raise self._too_large(f"more than {self.limit}")
        else:
            self._whole = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self.request_id
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.place.close()
        if self._gone.is_set():
            return
        try:
            await asyncio.wait_for(self._send(message), self._taken.idle_seconds)
        except TimeoutError:
            log.info("%s: the client does not read", self.request_id)
            self._gone.set()

    def _patience(self) -> float:
        """Seconds that the next piece may take."""
        idle = self._taken.idle_seconds
        due = self._began + idle + self.received / self._taken.bytes_per_second
        return max(0.0, min(idle, due - time.monotonic()))

    async def _until_gone(self) -> Message:
        """After the body nothing comes but the end of the client."""
        gone = asyncio.ensure_future(self._gone.wait())
        theirs = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({gone, theirs}, return_when=asyncio.FIRST_COMPLETED)
            return theirs.result() if theirs.done() else {"type": "http.disconnect"}
        finally:
            gone.cancel()
            theirs.cancel()

    def _too_large(self, size: str) -> RequestTooLarge:
        return RequestTooLarge(f"a body of {size} bytes", f"at most {self.limit}", "send less, or a shorter video")


def path_of(scope: Scope) -> str:
    """The path of a route, also where the application has a prefix."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _limit(scope: Scope, headers: Headers, taken: Taken) -> int:
    path, kind = path_of(scope), headers.get("content-type", "")
    form = kind.startswith("multipart/form-data")
    if (form and path in FORMS) or (path == PLAIN and "json" not in kind):
        return taken.media.bytes + (_ENVELOPE if form else 0)
    return taken.json


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else uuid4().hex
