"""Replicas follow the work that is there and that waits, not the number of requests."""

from types import SimpleNamespace

import pytest

from serve.scaling import ByLoad, Gauge


def context(loads, sizes=(), queued=0.0, lowest=0, highest=8):
    told = {"load": dict(enumerate(loads)), "request": dict(enumerate(sizes))}
    return SimpleNamespace(
        aggregated_metrics=told,
        total_queued_requests=queued,
        capacity_adjusted_min_replicas=lowest,
        capacity_adjusted_max_replicas=highest,
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (context([]), 0),
        (context([], lowest=1), 1),
        (context([10.0]), 1),
        (context([100.0]), 1),
        (context([100.0, 1.0]), 2),
        (context([900.0, 900.0]), 8),  # no more than the most
        (context([50.0], sizes=[50.0], queued=4.0), 3),  # four that wait weigh as those before them
        (context([], queued=2.0), 2),  # nobody knows yet what they weigh: a replica's load each
    ],
)
def test_replicas_by_load(given, wanted):
    assert ByLoad(100.0)(given) == (wanted, {})


def test_without_any_word_from_replicas_the_fewest_are_wanted():
    quiet = context([], lowest=1)
    quiet.aggregated_metrics = None
    assert ByLoad(100.0)(quiet) == (1, {})


def test_a_gauge_counts_what_is_there_and_what_requests_weigh():
    gauge = Gauge()
    assert gauge.told() == {"load": 0.0, "request": 0.0}
    gauge.take(100.0)
    gauge.take(200.0)
    assert gauge.told() == {"load": 300.0, "request": pytest.approx(110.0)}
    gauge.done(250.0)
    gauge.done(250.0)
    assert gauge.load == 0.0
