"""Who may ask: the holder of the token, from this server's own pages or from no page at all."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.datastructures import Headers

from serve.settings import LOOPBACK, Settings
from vglamm.errors import Forbidden, Unauthorised, VglammError

OPEN = ("/healthz", "/readyz")
"""Paths that ask for no token: load balancers and Kubernetes have none."""
PAGE = "/"


class Guard:
    """Lets requests in or says why not.

    A token comes as ``Authorization: Bearer``, or as the password of ``Basic`` with any name, which is how a browser asks for it.
    Without a token, on loopback, only names of this machine are answered: a page elsewhere whose name was made to point here (DNS
    rebinding) is not. A request from a page must come from a page of this server: there is no CORS, and a form or script of another
    site, to which a browser would add a Basic password, gets nothing. A link elsewhere may lead to this server's page: that changes
    nothing, and who sent its reader here sees nothing of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._token = None if settings.token is None else settings.token.encode()
        self._names = {"localhost", LOOPBACK, "::1", settings.host.strip("[]").lower(), *(n.lower() for n in settings.names)}

    def refusal(self, method: str, path: str, headers: Headers) -> VglammError | None:
        """Why a request is not let in; None if it is."""
        host = headers.get("host", "").lower()
        if self._token is None and path not in OPEN and name_of(host) not in self._names:
            return Forbidden("a request under another name", "the name or address of this server", "set names in the settings")
        origin = headers.get("origin")
        elsewhere = headers.get("sec-fetch-site") == "cross-site" and not (path == PAGE and _followed(method, headers))
        if elsewhere or (origin is not None and origin.partition("://")[2].lower() != host):
            return Forbidden(
                "a request from a page of another site", "pages of this server", "ask from a program, or from its page"
            )
        if self._token is not None and path not in OPEN and not self._known(headers.get("authorization", "")):
            return Unauthorised("no token, or a wrong one", "the token of this server", "send Authorization: Bearer TOKEN")
        return None

    def _known(self, authorization: str) -> bool:
        assert self._token is not None, "asked only where there is one"
        scheme, _, value = authorization.partition(" ")
        given = value.strip().encode(errors="replace")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                given = b""
        elif scheme.lower() != "bearer":
            given = b""
        return hmac.compare_digest(given, self._token)


def _followed(method: str, headers: Headers) -> bool:
    """Whether a browser follows a link to a page of its own, which is no frame, script or picture of another."""
    return method == "GET" and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")


def name_of(host: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
