"""The viewer's HTTP server: for this machine alone, for whoever has the address with its token, and for reading only.

Other programs and other pages in the same browser must not read a run. So the server listens on 127.0.0.1; it wants a cookie that
only the printed address sets; it refuses names that are not this machine's (a page whose name was made to point here, DNS
rebinding); it answers GET alone; and its Content-Security-Policy lets the page load nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from vglamm.errors import EnvironmentProblem
from vglamm.view.site import HTML, Response, Site

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
HEADERS = {
    # Only attributes may hold style: the colours of tracks and the places of bars, written by vglamm.show.player.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src data: blob:; media-src blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Viewer(ThreadingHTTPServer):
    """Serves one site until it is closed. port: 0 for any that is free. EnvironmentProblem if the port cannot be had."""

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site, self.token = site, secrets.token_urlsafe(24)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise EnvironmentProblem(
                f"port {port}, which cannot be opened ({error})", "a free port", "choose another, or leave --port out"
            ) from error
        self.cookie = f"vglamm-view-{self.server_port}"  # a browser keeps cookies by host, whatever the port

    def handle_error(self, request: object, client_address: object) -> None:
        """A bug of ours: its traceback belongs into the log."""
        log.exception("a request failed")

    @property
    def url(self) -> str:
        """The address to open, with the token that lets its reader in."""
        return f"http://{ADDRESS}:{self.server_port}/?token={self.token}"


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Viewer
    server_version, sys_version = "vglamm", ""
    timeout = 30

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").lower()
        if host.rpartition(":")[0] not in NAMES and host not in NAMES:
            return self._say(421, "This server answers to its own address only.")
        try:
            parts = urlsplit(self.path)
        except ValueError:
            return self._say(400, "This is no address.")
        token = dict(parse_qsl(parts.query)).get("token") if parts.path == "/" else None
        if token is not None and self._right(token):
            cookie = f"{self.server.cookie}={self.server.token}; HttpOnly; SameSite=Lax; Path=/"
            return self._send(Response(303, HTML, b""), {"Location": "/", "Set-Cookie": cookie})
        if not self._known():
            return self._say(403, "Open the whole address that `vglamm view` printed: it holds the token.")
        response = self.server.site.respond(parts.path, parts.query, self._waited_for)
        if response is not None:
            self._send(response)

    def _refuse(self) -> None:
        self._send(Response(405, "text/plain; charset=utf-8", b"Only GET.\n"), {"Allow": "GET"})

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _known(self) -> bool:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return False
        return found is not None and self._right(found.value)

    def _right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.server.token.encode())

    def _waited_for(self) -> bool:
        """Whether the browser still listens: somebody who walks through rows leaves before most videos are cut."""
        self.connection.settimeout(0)
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.connection.settimeout(self.timeout)

    def _say(self, status: int, text: str) -> None:
        self._send(Response(status, "text/plain; charset=utf-8", f"{text}\n".encode()))

    def _send(self, response: Response, more: dict[str, str] | None = None) -> None:
        try:
            self.send_response(response.status)
            sizes = {"Content-Type": response.kind, "Content-Length": str(len(response.body))}
            for name, value in (HEADERS | sizes | (more or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)
        except (ConnectionError, TimeoutError):
            log.debug("the browser left before its answer came")

    def log_message(self, format: str, *args: object) -> None:
        log.debug("%s %s", self.command, urlsplit(self.path).path if hasattr(self, "path") else "")  # the query may hold the token
