"""Which frames to look at: pure functions from counts and times to frame indices. No file is opened here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import VideoFrameError


def evenly(n: int, count: int) -> tuple[int, ...]:
    """``count`` indices spread over ``n`` frames, both ends included: ``numpy.linspace(0, n - 1, count, dtype=int)``.

    With fewer than ``count`` frames: all of them, and the last one again until there are ``count``. This is how the published
    model picks the frames that the language model sees. Raises VideoFrameError if ``n`` or ``count`` is below 1.
    """
    _at_least_one("frames", n)
    _at_least_one("count", count)
    if n >= count:
        return tuple(int(i) for i in np.linspace(0, n - 1, count, dtype=int))
    return (*range(n), *[n - 1] * (count - n))


def published_grounding(frames: int, fps: float, limit: int = 64) -> tuple[int, ...]:
    """The grounding frames of the published model: one for each second, counted in frames, at most ``limit``.

    Every ``max(1, int(round(fps)))``-th of ``frames`` frames from frame 0, ``fps`` being the container's average rate (0 for a
    still image); more than ``limit`` are thinned evenly by ``numpy.linspace(0, n - 1, limit, dtype=int)``.
    Raises VideoFrameError if ``frames`` or ``limit`` is below 1.
    """
    _at_least_one("frames", frames)
    _at_least_one("limit", limit)
    return _thin(tuple(range(0, frames, max(1, round(fps)))), limit)


def at_rate(times: Sequence[float] | NDArray[np.float64], fps: float | None, limit: int | None = None) -> tuple[int, ...]:
    """The frames nearest to a regular grid of ``fps`` per second, by presentation time, so that a variable rate is honoured.

    times: seconds, increasing, one for each frame. The grid starts at the first frame and ends at the last. A tie goes to the
    earlier frame. Indices are unique and increasing: where the grid is finer than the video, each frame appears once. ``fps`` of
    None or infinity gives every frame. More than ``limit`` are thinned evenly. Raises VideoFrameError for no frames, for an
    ``fps`` that is not above 0 and for a ``limit`` below 1.
    """
    at = np.asarray(times, dtype=np.float64)
    _at_least_one("frames", len(at))
    if limit is not None:
        _at_least_one("limit", limit)
    if fps is None or np.isposinf(fps):
        return _thin(tuple(range(len(at))), limit)
    if not fps > 0:
        raise VideoFrameError(
            f"a sampling rate of {fps} frames per second", "a number above 0", "leave it out for the model's own rate"
        )
    # A grid finer than the closest two frames picks every frame anyway: do not build millions of points for it.
    gaps = np.diff(at)
    if len(gaps) and 1.0 / fps <= gaps.min() / 2:
        return _thin(tuple(range(len(at))), limit)
    # 1e-6: 10 frames at 1/30 s are 0.3 s, although the sum of floats may fall just short of it.
    grid = at[0] + np.arange(int(np.floor((at[-1] - at[0]) * fps + 1e-6)) + 1) / fps
    return _thin(tuple(int(i) for i in np.unique(_nearest(at, grid))), limit)


def _nearest(at: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position in ``at`` of the time nearest to each point of ``grid``, the earlier one of two at the same distance."""
    right = np.clip(np.searchsorted(at, grid), 0, len(at) - 1)
    left = np.maximum(right - 1, 0)
    closer_right = np.abs(at[right] - grid) < np.abs(grid - at[left]) - 1e-9
    return np.where(closer_right, right, left).astype(np.int64)


def _thin(indices: tuple[int, ...], limit: int | None) -> tuple[int, ...]:
    if limit is None or len(indices) <= limit:
        return indices
    return tuple(indices[i] for i in np.linspace(0, len(indices) - 1, limit, dtype=int))


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise VideoFrameError(f"{name} of {value}", "at least 1", f"pass a positive number of {name}")
