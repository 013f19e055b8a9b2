"""Timing things against each other on a machine that is never quite quiet."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of a series."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(series: list[float]) -> Spread:
        return Spread(statistics.median(series), min(series), max(series))

    def text(self, unit: str = "") -> str:
        """ "1.23 (1.20 to 1.30) s"; a single number if there was one measurement."""
        if self.low == self.high:
            return f"{digits(self.median)}{unit}"
        return f"{digits(self.median)} ({digits(self.low)} to {digits(self.high)}){unit}"


def digits(number: float) -> str:
    """Three significant digits, as a plain number."""
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.3g}"


def interleaved(arms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round, the arms one after the other (A B A B ...), so that a change of the machine's load falls
    on all of them. Warming up is the caller's, since it may want to be shorter than a round."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            begin = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratios(above: list[float], below: list[float]) -> Spread:
    """Spread of the ratios of neighbours in time: round by round, not of the medians."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])
