"""What the parts get: named profiles, YAML files, and whether a cluster can run them."""

import pytest

from serve.app import ALIVE, REPLICAS, deployed
from serve.deployments.scaling import ByLoad
from serve.profile import SPLIT, Part, Profile, load_profile
from vglamm.errors import ConfigError

NAMED = ("laptop", "one-gpu", "eight-gpus", "cluster")


@pytest.mark.parametrize("name", NAMED)
def test_every_named_profile_reads_and_bears_its_name(name):
    profile = load_profile(name)
    assert profile.name == name
    assert tuple(profile.parts) == (("whole",) if profile.layout == "whole" else SPLIT)
    assert all(part.ongoing >= 1 and part.queued >= 1 for part in (profile.ingress, *profile.parts.values()))


def test_a_laptop_of_two_cores_runs_the_default_with_room_to_scale():
    load_profile("laptop").check({"CPU": 2.0})
    profile = load_profile("laptop")
    assert sum(part.replicas[1] * part.cpus for part in (profile.ingress, *profile.parts.values())) <= 2.0


@pytest.mark.parametrize(
    ("name", "has", "said"),
    [
        ("laptop", {"CPU": 0.5}, "needs 1 CPUs, on a Ray with 0.5 CPUs"),
        ("eight-gpus", {"CPU": 96.0, "GPU": 2.0, "memory": 2.0**40}, "needs 3 GPUs, on a Ray with 2 GPUs"),
        ("one-gpu", {"CPU": 8.0, "GPU": 1.0, "memory": 2.0**30}, "needs 24.0 GiB, on a Ray with 1.0 GiB"),
    ],
)
def test_a_cluster_that_is_too_small_is_told(name, has, said):
    with pytest.raises(ConfigError, match=said):
        load_profile(name).check(has)


def test_a_part_that_scales_to_none_still_needs_room_for_one():
    assert Profile("p", pixel=Part(replicas=(0, 4), gpus=1.0)).needs()["GPU"] == 1.0


def test_a_file_reads_and_unknown_keys_and_names_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\npixel: {replicas: [0, 3], gpus: 0.5, labels: {part: masks}}\n")
    profile = load_profile(str(path))
    assert (profile.pixel.replicas, profile.pixel.gpus, profile.layout) == ((0, 3), 0.5, "split")
    assert profile.pixel.resources == {"num_cpus": 0.25, "num_gpus": 0.5, "label_selector": {"part": "masks"}}
    path.write_text("name: mine\npixel: {workers: 3}\n")
    with pytest.raises(ConfigError, match="workers"):
        load_profile(str(path))
    with pytest.raises(ConfigError, match="cluster, eight-gpus, laptop, one-gpu"):
        load_profile("two-gpus")
    path.write_text("- a list\n")
    with pytest.raises(ConfigError, match="without settings"):
        load_profile(str(path))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Part(replicas=(2, 1)),
        lambda: Part(replicas=(0, 0)),
        lambda: Part(batch=0),
        lambda: Part(gpus=-0.5),
        lambda: Part(load=0.0),
        lambda: Profile("p", layout="pairs"),
        lambda: Profile("p", device="tpu"),
        lambda: Profile("p", ingress=Part(replicas=(0, 1))),
        lambda: Profile("p", window=0),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ConfigError):
        wrong()


class Nothing:
    """A deployment's class."""


def test_a_deployment_is_asked_for_as_its_part_says():
    part = Part(replicas=(0, 3), cpus=2.0, gpus=0.5, ongoing=7, queued=9, load=99.0, up=1.0, down=5.0, drain=11.0, check=3.0)
    made = deployed(Nothing, "pixel", part, Profile("p", retry_after=4.0))
    config = made._deployment_config
    scaling = config.autoscaling_config
    assert made.ray_actor_options == {"num_cpus": 2.0, "num_gpus": 0.5, "runtime_env": {"env_vars": REPLICAS}}
    assert (config.max_ongoing_requests, config.max_queued_requests, config.graceful_shutdown_timeout_s) == (7, 9, 11.0)
    assert (config.health_check_period_s, config.health_check_timeout_s) == (ALIVE, 30.0), "a dead one is seen before it is tried"
    assert (config.backpressure_config.status_code, config.backpressure_config.retry_after_s) == (503, 4.0)
    assert (scaling.min_replicas, scaling.max_replicas, scaling.upscale_delay_s, scaling.downscale_delay_s) == (0, 3, 1.0, 5.0)
    assert scaling.policy.policy_kwargs == {"load": 99.0}
    assert scaling.policy.policy_function.endswith(ByLoad.__name__)
    fixed = deployed(Nothing, "vision", Part(replicas=(2, 2)), Profile("p"))
    assert fixed._deployment_config.autoscaling_config is None
    assert fixed.num_replicas == 2
