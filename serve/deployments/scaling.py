"""How many replicas a deployment wants: by the work that is in its replicas and that waits for them, not by requests."""

from __future__ import annotations

import math
from typing import Any

LOAD, REQUEST = "load", "request"
"""What a replica tells by ``record_autoscaling_stats``: its work now, and the work of a request lately."""


class ByLoad:
    """A policy of Ray Serve. load: work of a replica from which on another one is wanted."""

    def __init__(self, load: float) -> None:
        self.load = load

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        told = context.aggregated_metrics or {}
        sizes = [size for size in told.get(REQUEST, {}).values() if size > 0]
        # Requests that wait before the replicas are not in what the replicas tell; they weigh what requests weighed lately.
        waiting = (context.total_queued_requests or 0.0) * (sum(sizes) / len(sizes) if sizes else self.load)
        wanted = math.ceil((sum(told.get(LOAD, {}).values()) + waiting) / self.load)
        lowest, highest = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        return max(lowest, min(wanted, highest)), {}


class Gauge:
    """The work of one replica, in its deployment's unit."""

    def __init__(self) -> None:
        self.load = 0.0
        self._request = 0.0

    def take(self, work: float) -> None:
        """A request of so much work came in."""
        self.load += work
        self._request = work if not self._request else 0.9 * self._request + 0.1 * work

    def done(self, work: float) -> None:
        self.load = max(self.load - work, 0.0)

    def told(self) -> dict[str, float]:
        return {LOAD: self.load, REQUEST: self._request}
