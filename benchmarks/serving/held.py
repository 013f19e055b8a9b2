"""What the processes of an endpoint hold and use: memory, open files, time."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psutil
import ray
from ray.serve._private.constants import SERVE_PROXY_NAME

from benchmarks.serving.endpoint import Endpoint

Holding = dict[str, tuple[float, int]]


def held(endpoint: Endpoint, parts: Sequence[str]) -> Holding:
    """Bytes of its own and open files of each part, all replicas together, and of Serve's HTTP proxy, before which requests queue.

    Resident memory also counts pages that others have too, above all those of Ray's object store that a process has read once, and
    freed memory that the allocator keeps: neither is held by anything, and both grow up to a bound with what passes.
    """
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
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return float(process.memory_full_info().uss), process.num_fds()


def started(_: Any) -> tuple[float, float]:
    """Of this process: when it began, and the seconds of a core that it used."""
    process = psutil.Process()
    spent = process.cpu_times()
    return process.create_time(), spent.user + spent.system


def imports() -> float:
    """Seconds of a core that a process of its own takes for no more than importing the libraries that a part stands on."""
    process = subprocess.Popen([sys.executable, "-c", "import torch, transformers.modeling_utils, ray.serve"])
    _, status, spent = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return spent.ru_utime + spent.ru_stime
