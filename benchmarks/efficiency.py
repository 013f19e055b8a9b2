"""The pipeline of bulk annotation against raw processes that do the same steps: what Ray costs once everything runs."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import ray
import torch

from benchmarks.bulk import rays
from benchmarks.bulk.driver import waited
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one
from benchmarks.bulk.model import resolved
from benchmarks.measure import Spread, ratios
from benchmarks.report import Row, Section
from ray_jobs.annotate.board import Board, Note
from ray_jobs.annotate.fill import parcel_of
from ray_jobs.annotate.front import TINY_DESCRIBE
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.manifest import Job
from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.profile import Pool
from ray_jobs.annotate.run import BulkJob, pipeline
from ray_jobs.annotate.stages import Decode, Ground, Say, See, Settings, grounding_frames, guarded, sampling_of
from vglamm import annotation, checkpoint
from vglamm.annotation import Annotation
from vglamm.places import Place
from vglamm.records import PixelInput

GOAL = 0.95
CORES = 2
"""Used by both: raw processes, and actors that ground."""
SPLIT = replace(one_by_one(SMALL), name="two-cores", pixel=Pool(actors=(CORES, CORES), cpus=0.2))
WHOLE = replace(SPLIT, layout="whole", whole=Pool(actors=(CORES, CORES), cpus=0.4))
_START = 1800


class Recorder(Board):
    """A board that keeps every note."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[Note] = []

    def take(self, note: Note) -> None:
        super().take(note)
        self.notes.append(note)

    def everything(self) -> list[Note]:
        return self.notes


def by_ray(job: BulkJob, ledger: Ledger) -> float:
    """Seconds from the start of the first decoding to the end of the last masks, by the actors' clocks. All actors are there
    before anything begins; so are those that Ray Data starts once in a process, which a first job has woken."""
    with rays.one_node(cpus=CORES), rays.all_there_first(), tempfile.TemporaryDirectory(prefix="vglamm-bench-") as scratch:
        board = ray.remote(Recorder).options(num_cpus=0).remote()
        first = pipeline(job, Ledger(Place.of(Path(scratch)), job.part), list(job.manifest.jobs[:CORES]), board)
        assert sum(len(batch["position"]) for batch in first.iter_batches(batch_size=None)) == CORES
        board = ray.remote(Recorder).options(num_cpus=0).remote()
        ray.get(board.read.remote())
        for _ in pipeline(job, ledger, list(job.manifest.jobs), board).iter_batches(batch_size=None, prefetch_batches=0):
            pass
        notes: list[Note] = []
        for _ in waited(60, "the last note of the actors"):  # they do not wait for the board
            notes = ray.get(board.everything.remote())
            if sum(note.stage == "pixel" for note in notes) == len(job.manifest.jobs):
                break
    return max(note.at for note in notes) - min(note.at - note.seconds for note in notes)


def by_processes(job: BulkJob, ledger: Ledger) -> float:
    """The same of ``CORES`` processes, each of which takes a video after the other through all stages."""
    spawn = multiprocessing.get_context("spawn")
    todo, spans, ready = spawn.Queue(), spawn.Queue(), spawn.Barrier(CORES)
    for one in (*job.manifest.jobs, *[None] * CORES):
        todo.put(one)
    workers = [spawn.Process(target=_work, args=(job, ledger, todo, spans, ready)) for _ in range(CORES)]
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


def _feed(settings: Settings, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
    config, plain = checkpoint.load_config(settings.model), parcel.plain
    return grounding_frames(plain["uri"], sampling_of(plain), config, settings.limits, first, stop)


def rows(folder: Path) -> list[Annotation]:
    """All rows without what may differ: times."""
    found = [row for path in sorted((folder / "rows").iterdir()) for row in annotation.read(path)]
    for row in found:
        assert row.answer is not None, row.error
        row.answer.timings.clear()
    return found


def run(*, rounds: int, model: str = "tiny", videos: int = 32, frames: int = 128) -> Section:
    ways = {"raw": (SPLIT, by_processes), "split": (SPLIT, by_ray), "whole": (WHOLE, by_ray)}
    spent: dict[str, list[float]] = {arm: [] for arm in ways}
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as name:
        folder = Path(name)
        chosen, what = resolved(model, folder / "model")
        write_clips(folder / "videos", videos, frames=frames)
        masked = 0
        for round_ in range(rounds):
            answers: dict[str, list[Annotation]] = {}
            for arm, (profile, way) in ways.items():
                out = folder / f"{arm}-{round_}"
                job: Any = bulk_job(folder / "videos", chosen, out, TINY_DESCRIBE, profile=profile)
                spent[arm].append(way(job, Ledger(Place.of(out), job.part)))
                answers[arm] = rows(out)
            if not answers["raw"] == answers["split"] == answers["whole"]:
                raise SystemExit("the pipeline wrote other rows than raw processes: a ratio would mean nothing")
            masked = sum(len(row.answer.tracks) for row in answers["raw"] if row.answer)
    how = (
        f"{what}, {videos} clips of {frames} frames of 128 px, a mask for every frame, {masked} objects. *Raw*: {CORES} processes, "
        f"each of which takes video after video through decode, vision, language and pixel. *Split*: Ray Data on {CORES} CPUs, an "
        f"actor for each part, {CORES} for pixel, each with a decoder of its own. *Whole*: {CORES} actors that hold all three "
        f"parts. From the first decoding to the last mask by the clocks of those who do it, with all processes there and the "
        f"weights loaded before; {rounds} rounds; all wrote the same rows."
    )
    found = (
        Row("efficiency: raw processes / pipeline, split", ratios(spent["raw"], spent["split"]), "", at_least=GOAL),
        Row("efficiency: raw processes / pipeline, whole", ratios(spent["raw"], spent["whole"]), ""),
    )
    details = tuple((f"{arm}, a video", Spread.of([s / videos for s in series]).text(" s")) for arm, series in spent.items())
    return Section("Bulk annotation: efficiency", how, found, details)
