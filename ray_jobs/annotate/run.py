"""A bulk job from its manifest to its parts and its summary, on the Ray that this process is connected to.

Five stages: decode (CPU) -> vision -> language -> grounding frames (a decoder beside each pixel actor, which fetches
chunks) -> pixel, which writes the rows. The driver only hears receipts, so its memory does not grow with the job.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_jobs.annotate.batches import together, whole_batches
from ray_jobs.annotate.board import Board, Tally
from ray_jobs.annotate.fill import Parts, fill, parcel_of
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.manifest import Job, Manifest
from ray_jobs.annotate.parcel import pack
from ray_jobs.annotate.pools import UNWRITTEN, Actor
from ray_jobs.annotate.profile import Profile
from ray_jobs.annotate.stages import Settings, rows_of
from ray_jobs.annotate.stall import watch_stall
from ray_jobs.annotate.summary import Progress, Summary
from vglamm.errors import EnvironmentProblem, WorkerLost
from vglamm.identity import identity

SPLIT = {"decode_vision": ("decode",), "vision": ("vision",), "language": ("language",), "pixel": ("pixel",)}
WHOLE = {"decode_vision": ("decode",), "whole": ("vision", "language", "pixel")}
_PERIOD = 1.0


@dataclass(frozen=True)
class BulkJob:
    """What ``vglamm annotate`` does. manifest: all videos of the run; shard: (number, of) if this process does only a share of it.
    part: videos of each output file. model: identity of the checkpoint if that is not here but on a server. retry: whether what has
    failed is asked once more."""

    manifest: Manifest
    settings: Settings
    profile: Profile
    out: str
    shard: tuple[int, int] = (1, 1)
    part: int = 64
    model: str | None = None
    retry: bool = False

    @property
    def config(self) -> str:
        """Hash of what decides the answers."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]

    def identity(self) -> dict[str, Any]:
        """What makes this run this run; a change is refused. The checkpoint counts by what is in it, not by where it lies."""
        settings = asdict(self.settings) | {"model": self.model or identity(self.settings.model)}
        return {
            "manifest": self.manifest.digest,
            "videos": len(self.manifest.jobs),
            "rows": self.manifest.rows,
            "settings": settings,
        }


def connect(address: str | None = None) -> None:
    """Be connected to a Ray: the one at ``address``, else that of the cluster which this process was submitted to, else a new one
    of this machine. A Ray that happens to run here, or that left its address behind when it died, is not taken."""
    if not ray.is_initialized():
        ray.init(address=address or os.environ.get("RAY_ADDRESS") or "local", log_to_driver=False)


def annotate(job: BulkJob, watch: Callable[[Progress], None] = lambda _: None) -> Summary:
    """Do what is missing of a job and return its summary, which also lies in the folder. watch: told about every second.

    ConfigError before anything starts: another run's folder, or a profile that this Ray cannot run.
    """
    connect()
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # it tells on standard error of every execution
    job.profile.check(ray.cluster_resources())
    return fill(job, _run, watch)


def _run(
    job: BulkJob, ledger: Ledger, missing: list[Job], parts: Parts, summary: Summary, watch: Callable[[Progress], None]
) -> None:
    """All that is missing; then, one by one, what was lost with a node or died beside another in its batch; what is lost again is
    written down as lost."""
    with _notices() as board:
        for alone in (False, True):
            if missing:
                heard = _hear(pipeline(job, ledger, missing, board, alone), board, parts, summary, watch)
                missing = [one for one in missing if one.position not in heard]
                for position in ledger.done(one.position for one in missing):  # written, but the receipt was lost
                    summary.done += 1
                    parts.done(position)
                    missing = [one for one in missing if one.position != position]
        summary.tallies = _read(board)
    for one in missing:
        lost = WorkerLost(
            f"{one.id!r}, on which a process was lost {2 * (job.profile.retries + 1)} times",
            "a video that no stage dies of",
            "look at it alone",
        )
        ledger.write(one.position, rows_of(parcel_of(one, job).fail(type(lost).__name__, str(lost))))
        summary.lose(len(one.asked))
        parts.done(one.position)
    watch(summary.progress(summary.tallies))


@contextmanager
def _notices() -> Iterator[Any]:
    """A board on this node, as long as the context lasts: datasets, and what Ray keeps of them, would hold it beyond the job."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # it must not go with another node
    board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        yield board
    finally:
        ray.kill(board)


def _hear(data: ray.data.Dataset, board: Any, parts: Parts, summary: Summary, watch: Callable[[Progress], None]) -> set[int]:
    """Run a dataset to its end; the positions whose receipts came. EnvironmentProblem if the folder takes no more rows."""
    heard: set[int] = set()
    with _watching(board, summary, watch):
        for receipts in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for receipt in receipts.to_pylist():
                told = json.loads(receipt["told"])
                if UNWRITTEN in told:
                    raise EnvironmentProblem(*told[UNWRITTEN])
                heard.add(receipt["position"])
                summary.add(told)
                parts.done(receipt["position"])
    return heard


@contextmanager
def _watching(board: Any, summary: Summary, watch: Callable[[Progress], None]) -> Iterator[None]:
    """Look at the board every second, whether or not a video is done."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_PERIOD):
            watch(summary.progress(_read(board)))

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join()


def _read(board: Any) -> dict[str, Tally]:
    tallies: dict[str, Tally] = ray.get(board.read.remote())
    return tallies


def pipeline(job: BulkJob, ledger: Ledger, missing: list[Job], board: Any, alone: bool = False) -> ray.data.Dataset:
    """The stages over the videos of ``missing``, not yet begun; its rows are receipts. One block for each video: the unit of work,
    of retrying and of back pressure. board: an actor of :class:`Board`. alone: no video shares a batch, or waits at an actor behind
    another, whose death would count against it too."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # of a block whose worker dies again and again: its rows are written as lost
    context.print_on_execution_start = False  # the job has a display of its own
    context.issue_detectors_config.detectors = []  # they advise `memory=`, which is for the profile to say
    parcels = (parcel_of(one, job) for one in missing) if alone else whole_batches(missing, job)
    data = ray.data.from_arrow_refs([ray.put(pack([parcel])) for parcel in parcels])
    data.context.execution_options.preserve_order = together(job.profile) > 1  # batches of neighbours
    watch_stall(data.context, board, job.profile.stall)
    stages = WHOLE if job.profile.layout == "whole" else SPLIT
    with warnings.catch_warnings():
        # Without a bound Ray tries a row that kills its actor for ever; Ray 2.60 to 2.63 take the bound this way only.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        for name, pool in job.profile.pools.items():
            data = data.map_batches(
                Actor,
                fn_constructor_kwargs={
                    "name": name,
                    "stages": stages[name],
                    "profile": job.profile,
                    "settings": job.settings,
                    "ledger": ledger,
                    "board": board,
                },
                batch_size=1 if alone else pool.batch,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(
                    min_size=pool.actors[0], max_size=pool.actors[1], max_tasks_in_flight_per_actor=1 if alone else None
                ),
                max_restarts=-1,
                max_task_retries=job.profile.retries,
                **pool.scheduling,
            )
    return data
