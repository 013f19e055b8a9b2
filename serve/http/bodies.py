"""JSON bodies: read within bounds, so that a small one costs little, and checked against what a route takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from vglamm.errors import RequestRefused

Model = TypeVar("Model", bound=BaseModel)
VALUES = 10_000
"""Values of a body, at most. One takes twenty times its bytes once it is parsed, and seven hundred times if it is wrong, as every
mistake is told apart. No request that means something has a tenth as many."""
_QUOTES = 4 * VALUES
"""A member of an object has two strings."""


def parsed(body: bytes, model: type[Model]) -> Model:
    """JSON as ``model``; RequestValidationError, which says where it does not fit."""
    return validated(tree_of(body), model)


def validated(tree: Any, model: type[Model]) -> Model:
    """Fields as ``model``; RequestValidationError, which says where they do not fit."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False, include_context=False)) from error


def tree_of(body: bytes) -> Any:
    """The JSON of a body; RequestRefused for more than :data:`VALUES`, before they are made."""
    if _crowded(body):
        raise RequestRefused("a body of too many values", f"at most {VALUES}", "send less")
    try:
        return json.loads(body.decode("utf-8-sig"))  # other encodings, which json would guess, hide quotes from the count
    except (ValueError, RecursionError) as error:
        raise RequestRefused("a body that is not JSON", "JSON, or a form", "set Content-Type and check the body") from error


def _crowded(body: bytes) -> bool:
    """Whether there are more than so many values: each is the first of its list or object, or stands behind a comma. Videos are
    strings of megabytes, which nothing here looks through character by character."""
    if _begun(body) <= VALUES:  # also if none of them stood in a string
        return False
    parts = body.split(b'"', _QUOTES)
    begun, inside = 0, False
    for part in parts:
        begun += 0 if inside else _begun(part)
        escaped = inside and (len(part) - len(part.rstrip(b"\\"))) % 2 == 1
        inside = escaped or not inside
    return begun > VALUES or len(parts) > _QUOTES


def _begun(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


class _Bounded(Request):
    async def json(self) -> Any:
        return tree_of(await self.body())


class BoundedRoute(APIRoute):
    """A route whose body is read within the same bounds where FastAPI reads it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(_Bounded(request.scope, request.receive))

        return bounded
