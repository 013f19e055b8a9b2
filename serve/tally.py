"""What the endpoint did, counted where it answers, added up in one place."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

_LATEST = 10_000


@dataclass(frozen=True)
class Note:
    """One request that is over. kind: "ask" or "correct". failed: the name of its error, "" without one. seconds: of the whole, to
    the first token, to the first mask (None if it had none)."""

    kind: str
    failed: str
    seconds: float
    first_token: float | None = None
    first_mask: float | None = None
    tokens: int = 0
    masks: int = 0


@dataclass
class Sums:
    """Notes of a stretch of time."""

    began: float = field(default_factory=time.monotonic)
    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    masks: int = 0
    seconds: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    first_mask: list[float] = field(default_factory=list)

    def add(self, note: Note) -> None:
        self.requests += 1
        self.tokens += note.tokens
        self.masks += note.masks
        if note.failed:
            self.failures[note.failed] += 1
            return
        for series, value in (
            (self.seconds, note.seconds),
            (self.first_token, note.first_token),
            (self.first_mask, note.first_mask),
        ):
            if value is not None:
                series.append(value)
                del series[:-_LATEST]  # of a long stretch the latest speak

    def joined(self, later: Sums) -> Sums:
        """These and what came after them."""
        return Sums(
            self.began,
            self.requests + later.requests,
            self.failures + later.failures,
            self.tokens + later.tokens,
            self.masks + later.masks,
            *((mine + theirs)[-_LATEST:] for mine, theirs in zip(self._series, later._series, strict=True)),
        )

    @property
    def _series(self) -> tuple[list[float], ...]:
        return self.seconds, self.first_token, self.first_mask

    def numbers(self) -> dict[str, float]:
        """As metrics are logged."""
        lasted = max(time.monotonic() - self.began, 1e-9)
        found = {
            "requests": float(self.requests),
            "failures": float(sum(self.failures.values())),
            "requests_per_second": self.requests / lasted,
            "tokens_per_second": self.tokens / lasted,
            "masks_per_second": self.masks / lasted,
        }
        for name, series in (("latency", self.seconds), ("first_token", self.first_token), ("first_mask", self.first_mask)):
            if series:
                ordered = sorted(series)
                found |= {
                    f"{name}_p50": ordered[len(ordered) // 2],
                    f"{name}_p95": ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)],
                }
        return found
