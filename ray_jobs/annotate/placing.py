"""Whether a cluster has the nodes that a profile asks for by labels: actors that no node may run would be waited for in vain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ray_jobs.annotate.profile import Profile

_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
_AMONG = re.compile(r"in\((.*)\)")


def check_places(profile: Profile, nodes: Iterable[Mapping[str, Any]]) -> None:
    """ConfigError, with the fix, for labels that no living node carries, or whose nodes have too little for the fewest actors.
    nodes: as ``ray.nodes()`` tells them."""
    living = [node for node in nodes if node["Alive"]]
    for labels, needed in _needs(profile):
        fitting = [node for node in living if all(fits(value, node.get("Labels", {}).get(key)) for key, value in labels.items())]
        told = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        if not fitting:
            profile.lacks(
                f"profile {profile.name} on a Ray without a node labelled {told}",
                "such a node for each stage that asks for it",
                f'start nodes with: ray start --labels "{told}", or leave `labels` out of the profile',
            )
            continue
        for name, amount in needed.items():
            has = sum(node["Resources"].get(name, 0.0) for node in fitting)
            if amount > has + 1e-9:
                profile.lacks(
                    f"profile {profile.name}, which needs {amount:g} {name} on nodes labelled {told}, where there is {has:g}",
                    "room for the fewest actors of all stages that go there",
                    "lower what they ask for, or add such nodes",
                )


def fits(wanted: str, value: str | None) -> bool:
    """Whether a label's value is what a selector of Ray asks for: ``v``, ``!v``, ``in(v, w)`` or ``!in(v, w)``."""
    bare = str(wanted).removeprefix("!")
    among = _AMONG.fullmatch(bare)
    named = {one.strip() for one in among[1].split(",")} if among else {bare}
    return (value in named) != str(wanted).startswith("!")


def _needs(profile: Profile) -> Iterable[tuple[Mapping[str, Any], Mapping[str, float]]]:
    """The labels that stages ask for, and what all stages that ask for the same need at least."""
    found: dict[tuple[tuple[str, Any], ...], tuple[Mapping[str, Any], dict[str, float]]] = {}
    frames = (profile.decode_pixel.scheduling, profile.grounding.actors[0])
    for scheduling, count in [*((pool.scheduling, pool.actors[0]) for pool in profile.pools.values()), frames]:
        if labels := scheduling.get("label_selector"):
            _, needed = found.setdefault(tuple(sorted(labels.items())), (labels, {}))
            for asked, name in _NAMES.items():
                needed[name] = needed.get(name, 0.0) + count * scheduling.get(asked, 0.0)
    return found.values()
