"""Of children that decode at the same time, as many wait for the next requests as the source was told to keep."""

from __future__ import annotations

import pytest

from tests.unit.media.doubles import Made
from vglamm.media.guarded import GuardedSource
from vglamm.media.limits import Limits


def three_at_once(video: GuardedSource) -> None:
    walks = [video.stream(chunk=1) for _ in range(3)]
    for walk in walks:
        next(walk)
    assert not video._idle, "each has a child of its own"
    for walk in walks:
        assert len(list(walk)) == 19


@pytest.mark.parametrize("waiting", [1, 2, 4])
def test_as_many_children_wait_as_it_says_and_work_again(waiting: int) -> None:
    video = GuardedSource(Made(), Limits(stall_seconds=60.0, memory=1 << 30), waiting)
    three_at_once(video)
    kept = list(video._idle)
    assert len(kept) == min(waiting, 3)
    assert all(child.usable() for child in kept)
    video.frames_at([4])
    three_at_once(video)
    assert len(video._idle) == min(waiting, 3)
    assert set(kept) & set(video._idle), "those that waited worked again"
    last = list(video._idle)
    video.close(1)
    assert [child.usable() for child in last].count(True) == 1
    video.close()
    assert not any(child.usable() for child in last)
