"""What the processes of an endpoint hold and use: memory, open files, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import ray
from ray.serve._private.constants import SERVE_PROXY_NAME

from benchmarks.serving.endpoint import Endpoint

Holding = dict[str, tuple[float, int]]


def held(endpoint: Endpoint, parts: Sequence[str]) -> Holding:
    """Resident bytes and open files of each part, all replicas together, and of Serve's HTTP proxy, before which requests queue."""
    named = ray.util.list_named_actors(all_namespaces=True)
    proxies = [ray.get_actor(**one) for one in named if one["name"].startswith(SERVE_PROXY_NAME)]
    found = {name: endpoint.inside(name, _mine) for name in parts}
    found["proxy"] = ray.get([proxy.__ray_call__.remote(_mine) for proxy in proxies])
    return {name: (sum(size for size, _ in one), sum(files for _, files in one)) for name, one in found.items()}


def growth(before: Holding, after: Holding) -> tuple[list[float], list[int]]:
    """Of each part: percent of its memory, and files."""
    sizes = [100 * (after[name][0] / before[name][0] - 1) for name in before]
    return sizes, [after[name][1] - before[name][1] for name in before]


def _mine(_: Any) -> tuple[float, int]:
    process = psutil.Process()
    return float(process.memory_info().rss), process.num_fds()


def started(_: Any) -> tuple[float, float]:
    """Of this process: when it began, and the seconds of a core that it used."""
    process = psutil.Process()
    spent = process.cpu_times()
    return process.create_time(), spent.user + spent.system
