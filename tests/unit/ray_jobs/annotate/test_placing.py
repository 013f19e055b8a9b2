"""Nodes by labels: a profile that no node can serve is refused at once, not after half an hour without progress."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ray_jobs.annotate.placing import check_places, fits
from ray_jobs.annotate.profile import Pool, Profile, load_profile
from vglamm.errors import ConfigError

GIB = 1024**3


def node(part: str | None, alive: bool = True, **resources: float) -> dict[str, Any]:
    labels = {"ray.io/node-id": "x"} | ({} if part is None else {"part": part})
    return {"Alive": alive, "Labels": labels, "Resources": {"CPU": 16.0, "memory": 64.0 * GIB} | resources}


CLUSTER = [node("cpu"), node("llm", GPU=1.0), node("masks", GPU=1.0), node("masks", GPU=1.0)]


FIXED = replace(load_profile("cluster"), elastic=False)


def test_a_cluster_as_the_profile_wants_it() -> None:
    check_places(FIXED, CLUSTER)
    check_places(load_profile("laptop"), [node(None)])


@pytest.mark.parametrize("nodes", [[node(None, GPU=8.0)] * 9, CLUSTER[:2], [*CLUSTER[:2], node("masks", alive=False, GPU=2.0)]])
def test_labels_that_no_living_node_carries(nodes: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"without a node labelled part=.*ray start --labels"):
        check_places(FIXED, nodes)


def test_nodes_of_a_label_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match="needs 2 GPU on nodes labelled part=masks, where there is 1"):
        check_places(FIXED, CLUSTER[:3])


def test_stages_that_go_to_the_same_nodes_share_them() -> None:
    there = {"part": "a"}
    profile = Profile("own", vision=Pool(cpus=1.0, labels=there), language=Pool(cpus=1.0, labels=there))
    check_places(profile, [node("a", CPU=2.0)])
    with pytest.raises(ConfigError, match="needs 2 CPU"):
        check_places(profile, [node("a", CPU=1.5)])
    check_places(replace(profile, layout="whole"), [])  # which has no such stages


@pytest.mark.parametrize(
    ("wanted", "value", "right"),
    [
        *(("a", "a", True), ("a", "b", False), ("a", None, False), ("!a", "b", True), ("!a", "a", False), ("!a", None, True)),
        *(("in(a, b)", "b", True), ("in(a,b)", "c", False), ("!in(a,b)", "c", True), ("!in(a,b)", "a", False)),
    ],
)
def test_selectors_as_ray_reads_them(wanted: str, value: str | None, right: bool) -> None:
    assert fits(wanted, value) is right


def test_an_elastic_cluster_may_still_get_them_and_what_is_waited_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    check_places(replace(FIXED, elastic=True), CLUSTER[:1])
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "without a node labelled part=llm" in told[0]
    assert "part=masks" in told[1]
