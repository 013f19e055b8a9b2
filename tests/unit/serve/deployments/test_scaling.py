"""Replicas follow the work that is there and that waits, not the number of requests."""

from types import SimpleNamespace

import pytest
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingContext

from serve.app import deployed
from serve.deployments.scaling import LOAD, ByLoad, Gauge
from serve.profile import Part, Profile


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


class Autoscaler:
    """Decides as Serve's controller does, with Serve's own policy wrapper and context,
    for a deployment as the application makes it. now: its clock. replicas: that run, as soon as they are wanted."""

    def __init__(self, part):
        made = deployed(Nothing, "pixel", part, Profile("p"))
        self.config = made._deployment_config.autoscaling_config
        self.policy = _apply_autoscaling_config(_resolve_policy_callable(self.config.policy))
        self.state, self.now, self.replicas = {}, 1000.0, part.replicas[0]

    def decide(self, *, after=0.0, loads=(), queued=0.0):
        self.now += after
        identity = DeploymentID(name="pixel", app_name="vglamm")
        replicas = [ReplicaID(str(number), identity) for number in range(self.replicas)]
        context = AutoscalingContext(
            deployment_id=identity, deployment_name="pixel", app_name="vglamm", current_num_replicas=self.replicas,
            target_num_replicas=self.replicas, running_replicas=replicas, total_num_requests=queued + len(loads),
            total_queued_requests=queued, raw_metrics=None, capacity_adjusted_min_replicas=self.config.min_replicas,
            capacity_adjusted_max_replicas=self.config.max_replicas, policy_state=self.state, last_scale_up_time=None,
            last_scale_down_time=None, current_time=self.now, config=self.config,
            aggregated_metrics={LOAD: dict(zip(replicas, loads, strict=False))},
        )  # fmt: skip
        wanted, self.state = self.policy(context)
        self.replicas = max(self.config.min_replicas, min(wanted, self.config.max_replicas))
        return self.replicas


class Nothing:
    """A deployment's class."""


def test_serve_scales_a_part_from_none_by_its_load_and_back_to_none(monkeypatch):
    serve = Autoscaler(Part(replicas=(0, 3), load=100.0, up=10.0, down=120.0))
    monkeypatch.setattr("ray.serve.autoscaling_policy.time.time", lambda: serve.now)
    assert serve.decide() == 0
    assert serve.decide(queued=1.0) == 1, "at once: somebody waits, and nobody runs"
    assert serve.decide(loads=[250.0]) == 1
    assert serve.decide(after=9.0, loads=[250.0]) == 1
    assert serve.decide(after=1.0, loads=[250.0]) == 3, "one request of much work wants three"
    assert serve.decide(loads=[1.0, 1.0, 1.0]) == 3
    assert serve.decide(after=120.0, loads=[1.0, 1.0, 1.0]) == 1
    assert serve.decide(loads=[1.0]) == 1, "what is at work is not ended"
    assert serve.decide(loads=[0.0]) == 1
    assert serve.decide(after=120.0, loads=[0.0]) == 0


def test_a_gauge_counts_what_is_there_and_what_requests_weigh():
    gauge = Gauge()
    assert gauge.told() == {"load": 0.0, "request": 0.0}
    gauge.take(100.0)
    gauge.take(200.0)
    assert gauge.told() == {"load": 300.0, "request": pytest.approx(110.0)}
    gauge.done(250.0)
    gauge.done(250.0)
    assert gauge.load == 0.0
