"""Rays of this machine that a job is run and disturbed on, each away from any other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.data import DataContext

ROOT = Path(__file__).resolve().parents[2]
STORE = 200 * 1024**2


@contextmanager
def one_node(*, store: int = STORE, hook: str | None = None, cpus: int = 2) -> Iterator[None]:
    """This process is connected to a Ray of its own. store: bytes of its object store. hook: what its workers call first."""
    env: dict[str, Any] = {"env_vars": {"PYTHONPATH": str(ROOT)}} | ({"worker_process_setup_hook": hook} if hook else {})
    _quiet()
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=store,
        log_to_driver=False,
        runtime_env=env,
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def all_there_first(seconds: int = 1800) -> Iterator[None]:
    """In a job, data flows when all actors are there (in so many seconds), so that nobody works ahead of those who still load."""
    context = DataContext.get_current()
    before, context.wait_for_min_actors_s = context.wait_for_min_actors_s, seconds
    try:
        yield
    finally:
        context.wait_for_min_actors_s = before


@contextmanager
def three_nodes() -> Iterator[list[Any]]:
    """This process is connected to three simulated nodes of a CPU each; yields the cluster, and the two that can be removed."""
    from ray.cluster_utils import Cluster

    _quiet()
    small = {"num_cpus": 1, "object_store_memory": 120 * 1024**2}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    nodes = [cluster.add_node(**small) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    try:
        yield [cluster, *nodes]
    finally:
        ray.shutdown()
        cluster.shutdown()


def _quiet() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as all that they are compared with; Ray's own is 15
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences Ray's notice about machines without a GPU
    warnings.filterwarnings("ignore", "`use_.*` is deprecated", DeprecationWarning, "ray.data.context")
