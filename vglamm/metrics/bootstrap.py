"""How sure a mean is: a bootstrap confidence interval.

Percentile interval (Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979). Questions about one
video succeed and fail together, so whole videos are drawn when their names are given (the cluster bootstrap); drawing single
questions would make the interval too narrow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import ConfigError

_CELLS = 1_000_000  # draws held in memory at once


@dataclass(frozen=True)
class Interval:
    """A mean of ``n`` values and the interval [low, high] that holds it at the asked confidence."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean of ``values`` with its percentile interval; the same seed gives the same interval.

    groups: the group of each value; whole groups are drawn. Without it every value is its own group. Raises ConfigError for no
    values, a value that is not finite, groups of another length, or a confidence outside (0, 1).
    """
    return bootstrap_ratio(values, np.ones(len(values)), groups, confidence=confidence, resamples=resamples, seed=seed)


def bootstrap_ratio(
    tops: Sequence[float] | NDArray[np.float64],
    bottoms: Sequence[float] | NDArray[np.float64],
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """sum(tops) / sum(bottoms) with its percentile interval: a weighted mean, a recall, an IoU over a whole set.

    groups as in :func:`bootstrap_mean`; a group whose bottoms are all 0 has no say and is not drawn. Raises ConfigError as there,
    and for bottoms of another length, below 0, or all 0.
    """
    data, weight = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise ConfigError(
            f"values of shape {list(data.shape)}", "one or more finite numbers", "leave out questions without a value"
        )
    if weight.shape != data.shape or not np.isfinite(weight).all() or weight.min() < 0 or weight.max() == 0:
        raise ConfigError(f"weights of shape {list(weight.shape)}", "one for each value, none below 0, some above", "check them")
    if not 0 < confidence < 1 or resamples < 1:
        raise ConfigError(
            f"confidence {confidence}, {resamples} resamples", "0 < confidence < 1, resamples >= 1", "use 0.95 and 1000"
        )
    if groups is not None and len(groups) != len(data):
        raise ConfigError(f"{len(groups)} groups for {len(data)} values", "one for each", "pass the group of every value")
    names = range(len(data)) if groups is None else groups
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    member = np.array([place[name] for name in names])
    total, count = np.bincount(member, weights=data), np.bincount(member, weights=weight)
    total, count = total[count > 0], count[count > 0]

    rng = np.random.default_rng(seed)
    means: list[float] = []
    while len(means) < resamples:
        rows = min(resamples - len(means), max(1, _CELLS // len(count)))
        drawn = rng.integers(len(count), size=(rows, len(count)))
        means.extend((total[drawn].sum(axis=1) / count[drawn].sum(axis=1)).tolist())
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(data.sum() / weight.sum()), float(low), float(high), int(data.size))
