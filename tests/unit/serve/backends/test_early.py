"""Tracking that begins before the text has ended: how its end is told. What the walk makes of it is in test_routed.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest
from ray.exceptions import OutOfMemoryError

from serve.backends.early import ROWS, Early, Prompts, Row

PROMPTS = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize("error", [KeyError("a bug"), OutOfMemoryError("killed"), asyncio.CancelledError("not by its reader")])
@pytest.mark.parametrize("count", [0, 2, ROWS])
def test_whatever_ends_it_is_told_to_its_reader(error: BaseException, count: int) -> None:
    """Also with as many rows before it as may wait."""

    async def rows(prompts: Prompts) -> AsyncGenerator[Row, None]:
        for number in range(count):
            yield number, []
        raise error

    async def read() -> tuple[list[int], BaseException | None]:
        early, found, told = Early(rows), list[int](), None
        await early.cue(PROMPTS)
        try:
            async with asyncio.timeout(60):
                async for number, _ in early.rows(PROMPTS):
                    found.append(number)
        except (KeyError, OutOfMemoryError, asyncio.CancelledError, TimeoutError) as caught:
            told = caught
        await early.stop()
        return found, told

    found, told = asyncio.run(read())
    assert (found, type(told)) == (list(range(count)), type(error))
