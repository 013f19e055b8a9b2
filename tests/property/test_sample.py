from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vglamm.media.sample import at_rate, evenly, published_grounding

gaps = st.lists(st.floats(1e-3, 2.0), max_size=60)


@given(n=st.integers(1, 10_000), count=st.integers(1, 200))
def test_evenly_gives_exactly_that_many_in_order_with_both_ends(n: int, count: int) -> None:
    indices = evenly(n, count)
    assert len(indices) == count
    assert list(indices) == sorted(indices)
    assert indices[0] == 0
    assert indices[-1] == (n - 1 if count > 1 else 0)
    assert len(set(indices)) == min(n, count)


@given(frames=st.integers(1, 100_000), fps=st.floats(0, 240), limit=st.integers(1, 64))
def test_published_grounding_stays_inside_and_under_the_limit(frames: int, fps: float, limit: int) -> None:
    indices = published_grounding(frames, fps, limit)
    assert 1 <= len(indices) <= limit
    assert all(a < b for a, b in pairwise(indices))
    assert indices[0] == 0
    assert indices[-1] < frames
    assert all(index % max(1, round(fps)) == 0 for index in indices)


@given(gaps=gaps, start=st.floats(-10, 10), fps=st.floats(0.1, 60), limit=st.none() | st.integers(1, 20))
def test_at_rate_is_increasing_and_under_the_limit(gaps: list[float], start: float, fps: float, limit: int | None) -> None:
    times = start + np.concatenate([[0.0], np.cumsum(gaps)])
    indices = at_rate(times, fps, limit)
    assert indices[0] == 0
    assert all(a < b for a, b in pairwise(indices))
    assert indices[-1] < len(times)
    assert limit is None or len(indices) <= limit


@given(gaps=gaps, fps=st.floats(0.1, 60))
def test_at_rate_picks_for_each_grid_point_a_frame_that_no_other_beats(gaps: list[float], fps: float) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    chosen = times[list(at_rate(times, fps))]
    for point in np.arange(int(times[-1] * fps) + 1) / fps:
        assert np.abs(chosen - point).min() <= np.abs(times - point).min() + 1e-6
