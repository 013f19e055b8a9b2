"""A profile that could starve itself is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ray_jobs.annotate.profile import Frames, Pool, Profile, load_profile
from vglamm.errors import ConfigError

GIB = 1024**3


@pytest.mark.parametrize("name", ["laptop", "one-gpu", "eight-gpus", "cluster"])
def test_named_profiles_load_and_fit_the_machine_they_are_for(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    replace(profile, elastic=False).check(
        {
            "laptop": {"CPU": 2.0},
            "one-gpu": {"CPU": 8.0, "GPU": 1.0, "memory": 64.0 * GIB},
            "eight-gpus": {"CPU": 64.0, "GPU": 8.0, "memory": 512.0 * GIB},
            "cluster": {"CPU": 512.0, "GPU": 72.0, "memory": 4096.0 * GIB},
        }[name]
    )


def test_actors_on_all_cpus_are_refused_with_the_fix() -> None:
    greedy = Profile("greedy", decode_vision=Pool(actors=(1, 2), cpus=1.0), decode_pixel=Frames(cpus=0.5), pixel=Pool(cpus=0.5))
    with pytest.raises(ConfigError, match=r"may take 3.5 of 3 CPUs.*decoders.*lower the second number"):
        greedy.check({"CPU": 3.0})
    greedy.check({"CPU": 3.5})


@pytest.mark.parametrize(
    ("has", "told"), [({"CPU": 0.5}, "CPUs"), ({"CPU": 9.0}, "GPUs"), ({"CPU": 9.0, "GPU": 1.0, "memory": 1.0}, "GiB")]
)
def test_what_the_cluster_lacks_is_named(has: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_profile("one-gpu").check(has)


def test_a_profile_of_ones_own_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("name: own\npixel: {actors: [1, 3], gpu: 1}\n")
    with pytest.raises(ConfigError, match=r"unknown pixel\.gpu"):
        load_profile(str(own))
    own.write_text("name: own\npixel: {actors: [3, 1]}\n")
    with pytest.raises(ConfigError, match="fewest"):
        load_profile(str(own))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="cluster, eight-gpus, laptop, one-gpu"):
        load_profile("desktop")


def test_an_elastic_cluster_is_not_judged_by_the_nodes_that_are_there() -> None:
    profile = Profile("far", pixel=Pool(cpus=4.0, gpus=1.0))
    with pytest.raises(ConfigError):
        profile.check({"CPU": 1.0})
    replace(profile, elastic=True).check({"CPU": 1.0})


@pytest.mark.parametrize("content", [b"vision: {cpus: [", b"- a\n", b"name: caf\xe9\n", b"name: ${nothing}\n"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_profile(str(path))


@pytest.mark.parametrize("stall", [0.0, -1.0])
def test_a_guard_that_would_end_every_job_is_refused(stall: float) -> None:
    with pytest.raises(ConfigError, match="stall"):
        Profile("hasty", stall=stall)
