"""What the replicas of all parts have in common: a device, a worker thread, a count of their work, and a check of their health."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray

from serve.deployments.scaling import Gauge
from serve.profile import Part, Profile

Result = TypeVar("Result")

OTHERS = 2
"""Models beside the default one that a replica holds at most."""


class Station:
    """workers: threads that work. A model is driven by one, so that requests take turns on its device."""

    def __init__(self, profile: Profile, part: Part, workers: int = 1) -> None:
        import torch

        torch.set_num_threads(part.threads)
        ids: dict[str, list[str]] = {}
        if ray.is_initialized():  # else Serve's local testing mode
            ids = ray.get_runtime_context().get_accelerator_ids()
        self.gpus = [str(one) for one in ids.get("GPU", [])]
        usable = bool(self.gpus) and torch.cuda.is_available()
        self.device = profile.device if profile.device != "auto" else "cuda" if usable else "cpu"
        self.profile, self.part, self.gauge = profile, part, Gauge()
        self.worker = ThreadPoolExecutor(workers, thread_name_prefix="work")
        self._proved, self._before = 0.0, os.getpriority(os.PRIO_PROCESS, 0)

    def stand_back(self) -> None:
        """Stand back behind others on this machine, as the profile says: the calling thread and what it starts from now on. A
        replica does so once it has loaded: it is not to start behind all that work."""
        if ray.is_initialized():  # else this is the process of who tests
            os.setpriority(os.PRIO_PROCESS, 0, min(self._before + self.part.nice, 19))

    async def run(self, work: Callable[..., Result], *given: Any) -> Result:
        """Do something in a worker thread; what succeeds proves that the part is well."""
        done = await asyncio.get_running_loop().run_in_executor(self.worker, work, *given)
        self.prove()
        return done

    async def count(self, amount: float, work: Callable[..., Result], *given: Any) -> Result:
        """As :meth:`run`, counted as so much work from now until it is done."""
        self.gauge.take(amount)
        try:
            return await self.run(work, *given)
        finally:
            self.gauge.done(amount)

    def prove(self) -> None:
        self._proved = time.monotonic()

    @property
    def proved(self) -> bool:
        """Whether the part worked since about the last check, so that it need not be tried."""
        return time.monotonic() - self._proved < self.part.check

    def where(self) -> dict[str, Any]:
        """What the replica got."""
        context = ray.get_runtime_context()
        return {
            "pid": os.getpid(),
            "node": str(context.get_node_id()),
            "device": self.device,
            "gpus": self.gpus,
            "resources": {name: float(amount) for name, amount in context.get_assigned_resources().items()},
        }

    def close(self) -> None:
        self.worker.shutdown(wait=False, cancel_futures=True)
