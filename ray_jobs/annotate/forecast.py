"""``--dry-run``: what a job has to do, counted, and how long that will take, as two of its videos suggest. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ray_jobs.annotate.fill import retried
from ray_jobs.annotate.front import Asked, clock, job_of
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.remote import Endpoint, rows_from
from ray_jobs.annotate.summary import unlike
from vglamm.errors import VglammError
from vglamm.places import Place, local_copy

if TYPE_CHECKING:
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.run import BulkJob

MEASURED, TRIED = 2, 8
"""Videos that are annotated for it, and looked at to find so many that can be."""
_AT_ONCE = 16

Annotated = Callable[["Job"], bool]
"""Annotates a video and forgets the answers; whether there was one."""


def forecast(asked: Asked, endpoint: Endpoint | None = None) -> Table:
    """Counts, bytes and the expected time of what is missing. endpoint: the server that would be asked. ConfigError as of the job
    itself, for another run's folder too."""
    job = job_of(asked, endpoint)
    mine = job.manifest.shard(*job.shard, job.part).jobs
    ledger = Ledger(Place.of(job.out), job.part)
    done = ledger.done(one.position for one in mine) if ledger.known(job.identity()) else set()
    again = retried(mine, ledger.failed(done))
    if job.retry:
        mine, done = tuple(again.get(one.position, one) for one in mine), done - set(again)
    live = [one for one in mine if one.skipped is None and one.position not in done]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # far away, a size takes a round trip
        sizes = list(pool.map(_size, [one.uri for one in live]))
    shown = Table.grid(padding=(0, 2))
    shown.add_row("videos", f"{len(live)}" + (f"; {len(done)} are done" if done else ""))
    if skipped := [one.uri for one in mine if one.skipped is not None]:
        shown.add_row("skipped", Text(unlike(skipped)))
    shown.add_row("rows", str(sum(len(one.asked) for one in live)))
    if again:
        failed = sum(len(one.asked) for one in again.values())
        shown.add_row("failed", f"{failed} rows, {'' if job.retry else 'not '}asked once more (--retry-failed)")
    unknown = sum(size is None for size in sizes)
    shown.add_row("bytes", f"{sum(size or 0 for size in sizes):,}" + (f", and {unknown} not found" if unknown else ""))
    shown.add_row("time", _expected(job, live, endpoint) if live else "none: nothing is missing")
    return shown


def _expected(job: BulkJob, live: Sequence[Job], endpoint: Endpoint | None) -> str:
    if endpoint is None:
        work, where = _here(job)
        at_once, of = job.profile.grounding.actors[1], f"in profile {job.profile.name}"
    else:
        work, where = _there(job, endpoint), "there"
        at_once, of = endpoint.at_once, "as --in-flight says"
    spent: list[float] = []
    for one in islice(live, TRIED):
        began = time.perf_counter()
        if work(one):
            spent.append(time.perf_counter() - began)
        if len(spent) == MEASURED:
            break
    if not spent:
        return f"unknown: none of the first {min(TRIED, len(live))} videos could be annotated"
    each = sum(spent) / len(spent)
    measured = f"{each:.1f} s a video as measured {where} on {len(spent)}, {at_once} at a time {of}"
    return f"about {clock(each * len(live) / at_once)}: {measured}"


def _here(job: BulkJob) -> tuple[Annotated, str]:
    """With a model in this process, on a GPU only if the profile wants one and there is one."""
    import torch

    import vglamm

    settings = job.settings
    wanted = any(pool.gpus for pool in job.profile.pools.values()) and job.profile.device != "cpu"
    device = "cuda" if wanted and torch.cuda.is_available() else "cpu"
    walk = vglamm.load(settings.model, device=device, dtype=settings.dtype if device == "cuda" else None)

    def work(one: Job) -> bool:
        try:
            with local_copy(one.uri, settings.limits) as path:
                keep = len(one.asked) > 1
                session = walk.watch(path, mode=settings.mode, keep=keep, **settings.options(one.sampling))
                for number in one.asked:
                    session.ask(one.questions[number], max_new_tokens=settings.max_new_tokens)
                    session.history.clear()  # each question stands alone in a bulk job
        except VglammError:
            return False
        return True

    return work, "here" if device == "cuda" or not wanted else "here without the GPUs of the profile"


def _there(job: BulkJob, endpoint: Endpoint) -> Annotated:
    return lambda one: any(row.answer is not None for row in rows_from(one, job, endpoint)[0])


def _size(uri: str) -> int | None:
    """Bytes of a file or of all files in a folder; None if there is neither."""
    try:
        place = Place.of(uri)
        size = place.size()
        if size is None and place.is_folder():
            size = sum(entry.size for entry in place.system.get_file_info(place.files(deep=False)))
    except (VglammError, OSError):
        return None
    return size
