"""Where the time of an answer goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STAGES = ("probe", "decode", "vision", "language", "pixel")


class Clock:
    """Seconds by stage; a stage inside another counts for itself alone."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def run(self, stage: str) -> Iterator[None]:
        inner, began = sum(self.spent.values()), time.perf_counter()
        try:
            yield
        finally:
            self.spent[stage] += time.perf_counter() - began - (sum(self.spent.values()) - inner)

    def each(self, stage: str, items: Iterator[Any]) -> Iterator[Any]:
        """Count what it takes to make each item, not what the consumer does with it."""
        while True:
            with self.run(stage):
                item = next(items, None)
            if item is None:
                return
            yield item
