"""The steps of bulk annotation in processes without Ray: what the pipeline is measured against."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import torch

from ray_jobs.annotate.fill import parcel_of
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.manifest import Job
from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Decode, Ground, Say, See, Settings, grounding_frames, guarded, sampling_of
from vglamm import checkpoint
from vglamm.records import PixelInput

WAITING = 4
"""Videos between two stages."""
_START = 1800


def by_processes(job: BulkJob, ledger: Ledger, cores: int) -> float:
    """Seconds from the start of the first decoding to the end of the last masks of ``cores`` processes, each of which takes a video
    after the other through all stages."""
    spawn = multiprocessing.get_context("spawn")
    todo, spans, ready = spawn.Queue(), spawn.Queue(), spawn.Barrier(cores)
    for one in (*job.manifest.jobs, *[None] * cores):
        todo.put(one)
    workers = [spawn.Process(target=_work, args=(job, ledger, todo, spans, ready)) for _ in range(cores)]
    for worker in workers:
        worker.start()
    found = [spans.get(timeout=_START) for _ in job.manifest.jobs]
    for worker in workers:
        worker.join()
    return max(ended for _, ended in found) - min(began for began, _ in found)


def _work(job: BulkJob, ledger: Ledger, todo: Queue[Job | None], spans: Queue[tuple[float, float]], ready: Barrier) -> None:
    torch.set_num_threads(1)
    settings = job.settings
    stages = (Decode(settings), See(settings, "cpu"), Say(settings, "cpu", 1))
    ground = Ground(settings, "cpu", partial(_feed, settings))
    ready.wait(_START)
    for one in iter(todo.get, None):
        began = time.time()
        parcels = [parcel_of(one, job)]
        for stage in stages:
            parcels = guarded(stage, parcels)
        ledger.write(one.position, ground(parcels[0]))
        spans.put((began, time.time()))


def by_stages(job: BulkJob, ledger: Ledger, cores: int) -> float:
    """The same of processes that stand where the actors of the split layout do: one for each part, ``cores`` for pixel, queues
    between."""
    spawn = multiprocessing.get_context("spawn")
    places = (("decode", 1), ("vision", 1), ("language", 1), ("pixel", cores))
    ready, spans = spawn.Barrier(sum(copies for _, copies in places)), spawn.Queue()
    belts = [spawn.Queue(), *(spawn.Queue(WAITING) for _ in places[1:])]
    workers = []
    for at, (part, copies) in enumerate(places):
        onward = (belts[at + 1], places[at + 1][1]) if at + 1 < len(places) else None
        given = (job, ledger, part, belts[at], onward, spans, ready)
        workers += [spawn.Process(target=_stand, args=given) for _ in range(copies)]
    for worker in workers:
        worker.start()
    for one in (*job.manifest.jobs, None):
        belts[0].put(one)
    found = [spans.get(timeout=_START) for _ in range(len(job.manifest.jobs) * len(places))]
    for worker in workers:
        worker.join()
    return max(ended for _, ended in found) - min(began for began, _ in found)


def _stand(
    job: BulkJob,
    ledger: Ledger,
    part: str,
    inbox: Queue[Any],
    onward: tuple[Queue[Any], int] | None,
    spans: Queue[tuple[float, float]],
    ready: Barrier,
) -> None:
    """One stage of all videos that come. onward: the next stage's inbox and how many take from it; each of them is told the end."""
    torch.set_num_threads(1)
    settings = job.settings
    made: dict[str, Callable[[], Any]] = {
        "decode": lambda: Decode(settings),
        "vision": lambda: See(settings, "cpu"),
        "language": lambda: Say(settings, "cpu", 1),
        "pixel": lambda: Ground(settings, "cpu", partial(_feed, settings)),
    }
    stage = made[part]()
    ready.wait(_START)
    for given in iter(inbox.get, None):
        began = time.time()
        if onward is None:
            ledger.write(given.position, stage(given))
        else:
            [parcel] = guarded(stage, [parcel_of(given, job) if part == "decode" else given])
            onward[0].put(parcel)
        spans.put((began, time.time()))
    for _ in range(onward[1] if onward else 0):
        onward[0].put(None)


def _feed(settings: Settings, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
    config, plain = checkpoint.load_config(settings.model), parcel.plain
    return grounding_frames(plain["uri"], sampling_of(plain), config, settings.limits, first, stop)
