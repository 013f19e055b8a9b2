"""From sample ids to prepared items: which ids a rank sees is a pure function of the recipe; preparing runs on other CPUs.

Items stay numpy (8-bit frames) until the training worker collates them.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from ray_jobs.train.recipes import Recipe
from vglamm.errors import EnvironmentProblem

Item = dict[str, Any]
Preparer = Callable[[int], Item]
Feed = Generator[tuple[list[int], list[Item]], None, None]
"""Micro-batches of one rank: sample ids and their items."""
SEGMENT = 4096


@dataclass(frozen=True)
class Order:
    """The endless list of sample ids of a run: counted up from ``start``, or rounds through ``count`` ids, each round shuffled by
    (seed, round)."""

    start: int
    count: int | None
    seed: int

    def ids(self, first: int, number: int) -> list[int]:
        """Sample ids at places ``first .. first + number - 1`` of the list."""
        if self.count is None:
            return list(range(self.start + first, self.start + first + number))
        return [self.start + self._place(place) for place in range(first, first + number)]

    def _place(self, place: int) -> int:
        assert self.count is not None
        turn, i = divmod(place, self.count)
        cached: dict[int, Any] = self.__dict__.setdefault("_rounds", {})
        if turn not in cached:
            cached.clear()
            cached[turn] = np.random.default_rng([self.seed, turn]).permutation(self.count)
        return int(cached[turn][i])


def micro_batches(recipe: Recipe, *, step: int, consumed: int, rank: int) -> Iterator[list[int]]:
    """Sample ids of this rank's micro-batches from ``step`` to the end. ``consumed``: samples that all steps before have used.

    Micro-batch m of rank r in a step takes places ``(m * workers + r) * per_worker ...`` of the step's global batch: any number of
    workers sees the same global batches.
    """
    order = Order(recipe.data.start, recipe.data.count, recipe.seed)
    size = recipe.batch.per_worker
    for s in range(step, recipe.steps):
        base = consumed + (s - step) * recipe.global_batch
        for m in range(recipe.batch.accumulation):
            yield order.ids(base + (m * recipe.workers + rank) * size, size)


def inline(preparer: Preparer, plan: Iterator[list[int]]) -> Feed:
    """Prepare in this process: for a debugger."""
    for ids in plan:
        yield ids, [preparer(i) for i in ids]


def produced(preparer: Preparer, plan: Iterator[list[int]], *, producers: int, prefetch: int) -> Feed:
    """Prepare in ``producers`` other processes, at most ``prefetch`` micro-batches ahead for each; the order stays the plan's."""
    pool = ProcessPoolExecutor(producers, multiprocessing.get_context("spawn"), _start, (pickle.dumps(preparer),))
    waiting: deque[tuple[list[int], Future[list[Item]]]] = deque()
    try:
        for ids in islice(plan, producers * prefetch):
            waiting.append((ids, pool.submit(_prepare, ids)))
        while waiting:
            ids, future = waiting.popleft()
            items = future.result()
            if (following := next(plan, None)) is not None:
                waiting.append((following, pool.submit(_prepare, following)))
            yield ids, items
    except BrokenProcessPool as error:
        raise EnvironmentProblem(
            "a producer process that died",
            "a process that prepares samples",
            "is there memory enough? data.producers=0 shows its error",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def streamed(preparer: Preparer, plan: Iterator[list[int]], *, producers: int, prefetch: int) -> Feed:
    """Prepare in Ray Data tasks, a micro-batch each, at most ``producers`` at a time; they come back in the plan's order.

    Each rank streams its own plan: what it sees depends neither on the speed of others nor on how a stream is split, and a resumed
    run begins at its next sample. A long plan is cut into executions of ``SEGMENT`` micro-batches.
    """
    import ray.data

    blob = pickle.dumps(preparer)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    while planned := list(islice(plan, SEGMENT)):
        places = ray.data.range(len(planned), override_num_blocks=len(planned))
        dataset = places.map(_row, fn_args=(blob, planned), compute=ray.data.TaskPoolStrategy(size=producers))
        ahead = producers * prefetch
        for table in dataset.iterator().iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=ahead):
            row = table.to_pylist()[0]
            yield planned[row["id"]], pickle.loads(row["items"])  # made by this run's own task


def _row(row: dict[str, Any], blob: bytes, planned: list[list[int]]) -> dict[str, Any]:
    """Items travel pickled: their arrays have many shapes, and a block of bytes is copied once."""
    prepare = _unpickled(blob)
    return {"id": row["id"], "items": pickle.dumps([prepare(i) for i in planned[row["id"]]], protocol=5)}


@lru_cache(maxsize=2)
def _unpickled(blob: bytes) -> Preparer:
    preparer: Preparer = pickle.loads(blob)
    return preparer


_preparer: Preparer


def _start(blob: bytes) -> None:
    global _preparer
    _preparer = pickle.loads(blob)  # made by the parent a moment ago
    parent = multiprocessing.parent_process()
    assert parent is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a Ctrl-C reaches the whole group; the parent still needs samples to end its step
    threading.Thread(target=lambda: (parent.join(), os._exit(0)), daemon=True).start()  # a killed parent leaves no orphan


def _prepare(ids: list[int]) -> list[Item]:
    return [_preparer(i) for i in ids]
