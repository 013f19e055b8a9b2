"""The one table from the error tree to what a client is told: status, code, message. Nothing of the inside is in a message."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vglamm import errors
from vglamm.errors import Overloaded, VglammError

STATUS: dict[type[VglammError], int] = {
    errors.VideoNotFound: 404,
    errors.VideoTooLarge: 413,
    errors.VideoError: 422,
    errors.DialogueError: 422,
    errors.MaskError: 422,
    errors.TooManyRequests: 429,
    errors.InUse: 409,
    errors.Overloaded: 503,
    errors.WorkerLost: 503,
    errors.SessionGone: 410,
    errors.ModelUnknown: 404,
    errors.NotKept: 404,
    errors.RequestTooLarge: 413,
    errors.RequestTooSlow: 408,
    errors.RequestRefused: 422,
    errors.Unauthorised: 401,
    errors.Forbidden: 403,
    errors.UrlRefused: 403,
}
"""By the nearest class above. What is not in here is the server's own affair: 500, and its message stays in the log."""

_PLACE = re.compile(r"""(?:[A-Za-z][A-Za-z0-9+.-]*://|(?<![\w.)<])/(?=[^\s/'"]))[^\s'",;:)]*""")
_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 415: "unsupported_media_type"}


@dataclass(frozen=True)
class Told:
    """What a client is told of an error. retry_after: seconds, or None. realm: how a token may come."""

    status: int
    code: str
    message: str
    retry_after: float | None = None
    realm: str = "Bearer"

    def tree(self, request_id: str) -> dict[str, Any]:
        """Its JSON, the same in a response, in a stream and in the record of a job."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}

    def response(self, request_id: str) -> Response:
        headers = {"X-Request-ID": request_id, "Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = self.realm
        return Response(json.dumps(self.tree(request_id)), self.status, headers, "application/json")


BASIC = 'Basic realm="vglamm"'
"""For the page: a browser asks its user for a password. Scripts of the page, which get Bearer, ask by themselves."""

INTERNAL = Told(500, "internal_error", "the server failed; its log tells why, under this request id")


def told(error: BaseException) -> Told:
    """What to say of any error. Only those of the table are described."""
    if isinstance(error, RequestValidationError):
        return Told(422, "request_refused", _first(error))
    if isinstance(error, HTTPException):
        if isinstance(error.__cause__, VglammError):  # FastAPI wraps what went wrong while it read a body
            return told(error.__cause__)
        return Told(error.status_code, _BY_STATUS.get(error.status_code, "refused"), str(error.detail))
    for kind in type(error).__mro__:
        if kind in STATUS and isinstance(error, VglammError):
            after = error.retry_after if isinstance(error, Overloaded) else None
            return Told(STATUS[kind], code_of(type(error)), scrubbed(str(error)), after)
    return INTERNAL


def code_of(kind: type[VglammError]) -> str:
    """The name of an error on the wire: ``VideoTooLarge`` is ``video_too_large``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def scrubbed(text: str) -> str:
    """A message without paths and addresses, which are the server's: its users know videos by their ids."""
    return _PLACE.sub("the file", text)


def _first(error: RequestValidationError) -> str:
    """Where the first mistake is and what it is; never the value, which may be anything."""
    mistakes = error.errors()
    where = ".".join(str(part) for part in mistakes[0]["loc"] if part != "body") or "the body"
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return f"got {where}: {mistakes[0]['msg']}{more}; expected a request as in /openapi.json; correct it"
