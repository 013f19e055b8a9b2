"""The pipeline of bulk annotation against raw processes that do the same steps: what Ray costs once everything runs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray

from benchmarks.bulk import rays
from benchmarks.bulk.driver import waited
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one
from benchmarks.bulk.model import resolved
from benchmarks.bulk.raw import by_processes, by_stages
from benchmarks.measure import Spread, ratios
from benchmarks.report import Row, Section
from ray_jobs.annotate.board import Board, Note
from ray_jobs.annotate.front import TINY_DESCRIBE
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.profile import Pool
from ray_jobs.annotate.run import BulkJob, pipeline
from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.places import Place

GOAL = 0.95
CORES = 2
"""Used by both: raw processes, and actors that ground."""
SPLIT = replace(one_by_one(SMALL), name="two-cores", pixel=Pool(actors=(CORES, CORES), cpus=0.2))
WHOLE = replace(SPLIT, layout="whole", whole=Pool(actors=(CORES, CORES), cpus=0.4))


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


def rows(folder: Path) -> list[Annotation]:
    """All rows without what may differ: times."""
    found = [row for path in sorted((folder / "rows").iterdir()) for row in annotation.read(path)]
    for row in found:
        assert row.answer is not None, row.error
        row.answer.timings.clear()
    return found


def run(*, rounds: int, model: str = "tiny", videos: int = 32, few: int = 8, frames: int = 128) -> Section:
    ways = {
        "raw": (SPLIT, partial(by_processes, cores=CORES)),
        "raw, split": (SPLIT, partial(by_stages, cores=CORES)),
        "split": (SPLIT, by_ray),
        "whole": (WHOLE, by_ray),
    }
    spent: dict[str, list[float]] = {arm: [] for arm in ways}
    steady: dict[str, list[float]] = {arm: [] for arm in ways}
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as name:
        folder = Path(name)
        chosen, what = resolved(model, folder / "model")
        write_clips(folder / "videos", videos, frames=frames)
        masked = 0
        for round_ in range(rounds):
            answers: dict[str, list[Annotation]] = {}
            for arm, (profile, way) in ways.items():
                seconds = {}
                for count in (few, videos):
                    out = folder / f"{arm}-{count}-{round_}"
                    job: Any = bulk_job(folder / "videos", chosen, out, TINY_DESCRIBE, profile=profile)
                    job = replace(job, manifest=job.manifest.limit(count))
                    seconds[count] = way(job, Ledger(Place.of(out), job.part))
                spent[arm].append(seconds[videos])
                steady[arm].append(seconds[videos] - seconds[few])
                answers[arm] = rows(out)
            if any(answer != answers["raw"] for answer in answers.values()):
                raise SystemExit("the pipeline wrote other rows than raw processes: a ratio would mean nothing")
            masked = sum(len(row.answer.tracks) for row in answers["raw"] if row.answer)
    how = (
        f"{what}, {videos} clips of {frames} frames of 128 px, a mask for every frame, {masked} objects. *Raw*: {CORES} processes, "
        f"each of which takes video after video through decode, vision, language and pixel. *Split*: Ray Data on {CORES} CPUs, an "
        f"actor for each part, {CORES} for pixel, each with a decoder of its own. *Raw, split*: processes in their place, "
        f"with queues between: what it costs that more processes than cores work is in both. *Whole*: {CORES} actors that hold all "
        f"three parts. From the first decoding to the last mask by the clocks of those who do it, with all processes there and the "
        f"weights loaded before; {rounds} rounds; all wrote the same rows. *Steady state*: a job of {videos} clips less one of the "
        f"first {few}, so that what a job pays once (the first video on its way to pixel, what a process imports at its first, "
        f"cores that have nothing left to do at the end) is in neither."
    )
    found = (
        Row("efficiency, steady state: raw processes / split", ratios(steady["raw"], steady["split"]), "", at_least=GOAL),
        Row("efficiency, steady state: raw, split / split", ratios(steady["raw, split"], steady["split"]), "", at_least=GOAL),
        Row("efficiency, steady state: raw processes / whole", ratios(steady["raw"], steady["whole"]), ""),
        Row(f"{videos} clips from begin to end: raw processes / split", ratios(spent["raw"], spent["split"]), ""),
        Row(f"{videos} clips from begin to end: raw processes / whole", ratios(spent["raw"], spent["whole"]), ""),
    )
    details = [(f"{arm}, a further video", Spread.of([s / (videos - few) for s in series])) for arm, series in steady.items()]
    details += [(f"{arm}, all videos", Spread.of(series)) for arm, series in spent.items()]
    return Section("Bulk annotation: efficiency", how, found, tuple((told, spread.text(" s")) for told, spread in details))
