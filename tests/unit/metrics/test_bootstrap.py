import numpy as np
import pytest

from vglamm.errors import ConfigError
from vglamm.metrics.bootstrap import bootstrap_mean, bootstrap_ratio


def test_the_mean_lies_in_the_interval_and_the_seed_decides_it():
    values = np.random.default_rng(1).random(200).tolist()
    interval = bootstrap_mean(values, seed=3)
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval == bootstrap_mean(values, seed=3)
    assert interval != bootstrap_mean(values, seed=4)


def test_the_width_is_that_of_the_normal_theory():
    values = np.random.default_rng(0).normal(size=400).tolist()
    interval = bootstrap_mean(values, resamples=4000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(values) / 20, rel=0.06)
    assert bootstrap_mean(values, confidence=0.5).high < interval.high


def test_equal_values_have_no_width():
    interval = bootstrap_mean([0.25] * 5)
    assert (interval.mean, interval.low, interval.high, interval.n) == (0.25, 0.25, 0.25, 5)


def test_questions_of_one_video_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).random(20), 10).tolist()
    videos = np.repeat(np.arange(20), 10).tolist()
    alone, together = bootstrap_mean(values), bootstrap_mean(values, videos)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert together.mean == alone.mean


def test_groups_of_other_sizes_weigh_by_their_questions():
    interval = bootstrap_mean([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert interval.mean == 0.75
    assert (interval.low, interval.high) == (0, 1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_no_values_or_nan_are_refused(values):
    with pytest.raises(ConfigError, match="finite"):
        bootstrap_mean(values)


def test_other_mistakes_are_refused():
    with pytest.raises(ConfigError, match="confidence"):
        bootstrap_mean([1.0], confidence=1.0)
    with pytest.raises(ConfigError, match="2 groups for 1 values"):
        bootstrap_mean([1.0], ["a", "b"])


def test_a_ratio_is_of_sums_and_draws_whole_groups():
    found = bootstrap_ratio([1, 0, 8], [2, 0, 8], ["a", "b", "c"], resamples=200)
    assert (found.mean, found.n) == (0.9, 3)
    assert (found.low, found.high) == (0.5, 1)  # only a, or only c; b has no say
    same = bootstrap_ratio([1, 2, 3], [1, 1, 1], seed=5)
    assert same == bootstrap_mean([1, 2, 3], seed=5)


@pytest.mark.parametrize("bottoms", [[0, 0], [1], [1, -1], [1, float("nan")]])
def test_a_ratio_needs_something_below_the_line(bottoms):
    with pytest.raises(ConfigError):
        bootstrap_ratio([1, 2], bottoms)
