"""What makes some videos poison, by their names: set up in the workers of a test's own Ray, since no real file does it reliably."""

from __future__ import annotations

import os
from typing import Any

SEGFAULTS, HANGS, KILLS_ACTOR = "bad-segfault.mp4", "bad-hang.mp4", "bad-actor.mp4"


def setup() -> None:
    """Called by Ray when a worker starts."""
    from ray_jobs.annotate import stages
    from tests.unit.media import doubles
    from vglamm.media.guarded import GuardedSource, open_guarded
    from vglamm.media.limits import Limits

    def opened(path: str, limits: Limits, **rest: Any) -> GuardedSource:
        source = open_guarded(path, limits, **rest)
        if path.endswith(KILLS_ACTOR):
            os._exit(9)
        if path.endswith(SEGFAULTS):
            return GuardedSource(doubles.Misbehaving("segfault"), limits)
        if path.endswith(HANGS):
            return GuardedSource(doubles.Misbehaving("loop"), Limits(stall_seconds=2))
        return source

    stages.open_guarded = opened  # type: ignore[assignment]
