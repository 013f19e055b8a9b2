from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vglamm.errors import VideoFrameError
from vglamm.media.sample import at_rate, evenly, published_grounding


def test_evenly_is_linspace_and_repeats_the_last_frame_of_a_short_video() -> None:
    assert evenly(100, 4) == (0, 33, 66, 99)
    assert evenly(16, 16) == tuple(range(16))
    assert evenly(3, 5) == (0, 1, 2, 2, 2)
    assert evenly(1, 2) == (0, 0)


def test_published_grounding_takes_one_frame_a_second_and_thins_to_the_limit() -> None:
    assert published_grounding(250, 25.0) == tuple(range(0, 250, 25))
    assert published_grounding(61, 29.97) == (0, 30, 60)
    assert published_grounding(5, 0.3) == (0, 1, 2, 3, 4)  # int(round(.3)) is 0: at least 1
    assert published_grounding(1, 0.0) == (0,)
    many = published_grounding(25 * 200, 25.0)
    assert many == tuple(25 * int(i) for i in np.linspace(0, 199, 64, dtype=int))


def test_published_grounding_rounds_halves_as_python_does() -> None:
    assert published_grounding(10, 2.5) == (0, 2, 4, 6, 8)
    assert published_grounding(10, 3.5) == (0, 4, 8)


def test_at_rate_follows_presentation_times() -> None:
    regular = np.arange(50) / 25
    assert at_rate(regular, 5) == tuple(range(0, 50, 5))
    # Ten frames in the first second, two in the next two: each whole second gets the frame nearest to it.
    uneven = [*(i / 10 for i in range(10)), 1.9, 3.1]
    assert at_rate(uneven, 1) == (0, 9, 10, 11)
    assert at_rate([5.0, 5.5, 6.0], 2) == (0, 1, 2)  # the grid starts at the first frame


def test_at_rate_gives_every_frame_once_when_the_grid_is_finer_or_absent() -> None:
    times = np.arange(7) / 10
    assert at_rate(times, 1e9) == at_rate(times, 40) == at_rate(times, None) == at_rate(times, float("inf")) == tuple(range(7))
    assert at_rate(times, None, limit=3) == (0, 3, 6)
    assert at_rate([0.0], 5) == (0,)


IMPOSSIBLE: list[Callable[[], object]] = [
    lambda: evenly(0, 4),
    lambda: evenly(4, 0),
    lambda: published_grounding(0, 25.0),
    lambda: published_grounding(3, 25.0, limit=0),
    lambda: at_rate([], 5),
    lambda: at_rate([0.0], 0),
    lambda: at_rate([0.0], -1),
    lambda: at_rate([0.0], float("nan")),
    lambda: at_rate([0.0], None, limit=0),
]


@pytest.mark.parametrize("call", IMPOSSIBLE)
def test_impossible_requests_say_what_was_wrong(call: Callable[[], object]) -> None:
    with pytest.raises(VideoFrameError, match="expected"):
        call()
