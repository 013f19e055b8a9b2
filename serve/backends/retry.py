"""Once more, if a replica died: Serve itself does not ask again for a request whose replica is gone."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from serve.backends.failures import RAISED, told
from vglamm.errors import VglammError, WorkerLost

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Retry:
    """retry_after: seconds that a client is told to wait where too many ask."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after

    async def call(self, make: Callable[[], Awaitable[Result]]) -> Result:
        """What ``make`` gives, at the second try if need be. Errors are those of :mod:`vglamm.errors`, or a bug's own."""
        for again in (False, True):
            try:
                return await make()
            except RAISED as error:
                self._raise_unless_lost(error, again)
        raise AssertionError("it returned or raised")

    async def stream(self, make: Callable[[bool], AsyncGenerator[Result, None]]) -> AsyncGenerator[tuple[int, Result], None]:
        """The items of ``make(False)`` with their numbers; if a replica is lost, those of ``make(True)``, counted from 0 again."""
        for again in (False, True):
            try:
                async with aclosing(make(again)) as items:
                    number = 0
                    async for item in items:
                        yield number, item
                        number += 1
                return
            except RAISED as error:
                self._raise_unless_lost(error, again)

    def _raise_unless_lost(self, error: BaseException, again: bool) -> None:
        cause = told(error, self.retry_after)
        if again or not isinstance(cause, WorkerLost):
            if isinstance(cause, VglammError):
                raise cause from None
            raise error
        log.warning("a replica was lost: its request is tried once more")
