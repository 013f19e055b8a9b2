"""How the folder of a job is filled, whoever answers: what is missing, what is asked once more, the parts that are whole then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.parcel import Parcel, frozen
from ray_jobs.annotate.stages import rows_of
from ray_jobs.annotate.summary import Progress, Summary
from vglamm.annotation import SKIPPED, Annotation
from vglamm.places import Place

if TYPE_CHECKING:
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.run import BulkJob


def fill(job: BulkJob, work: Work, watch: Callable[[Progress], None]) -> Summary:
    """The folder of a job, filled with what is missing of it: ``work`` writes the rows of videos and tells which are done. In a
    retry, what has failed is missing too, question by question."""
    ledger = Ledger(Place.of(job.out), job.part, job.manifest.extra)
    mine = job.manifest.shard(*job.shard, job.part).jobs
    with ledger.held({one.position // job.part for one in mine} if job.shard != (1, 1) else None):
        ledger.claim(job.identity())
        ledger.settle(one.position for one in mine)
        done = ledger.done(one.position for one in mine)
        if job.retry:
            again = retried(mine, ledger.failed(done))
            ledger, done = replace(ledger, again=frozenset(again)), done - set(again)
            mine = tuple(again.get(one.position, one) for one in mine)
        summary = Summary.begun(job, mine, done)
        for one in (one for one in mine if one.skipped and one.position not in done):
            ledger.write(one.position, _skipped(one, job))
            summary.videos -= 1  # nothing of it is to be done
            done.add(one.position)
        parts = Parts(ledger, mine, done)
        missing = [one for one in mine if one.position not in done]
        if missing:
            work(job, ledger, missing, parts, summary, watch)
        parts.close()
        summary.finish(ledger.statuses())
        ledger.summarise(summary.to_tree())
    return summary


def retried(jobs: Iterable[Job], failed: Collection[int]) -> dict[int, Job]:
    """By position those with rows among ``failed``, each with the questions of these rows only."""
    found = {}
    for one in jobs:
        numbers = tuple(number for number in range(len(one.questions)) if one.first + number in failed)
        if numbers:
            found[one.position] = replace(one, only=numbers)
    return found


def parcel_of(one: Job, job: BulkJob) -> Parcel:
    """A video as it enters the first stage."""
    plain = {
        "id": one.id,
        "video": one.video or one.id,
        "uri": one.uri,
        "rows": [one.first + number for number in one.asked],
        "row_ids": [one.row_ids[number] for number in one.asked],
        "questions": [one.questions[number] for number in one.asked],
        "own_sampling": dict(one.sampling),
        "extra": frozen(one.extra, job.manifest.extra),
        "config": job.config,
        "timings": {},
    }
    return Parcel(one.position, plain)


def _skipped(one: Job, job: BulkJob) -> list[Annotation]:
    given = parcel_of(one, job).fail("VideoUnreadable", one.skipped or "")
    return [
        Annotation(**{name: getattr(row, name) for name in row.__dataclass_fields__} | {"status": SKIPPED})
        for row in rows_of(given)
    ]


class Parts:
    """Closes each part when the last of its positions is written."""

    def __init__(self, ledger: Ledger, jobs: tuple[Job, ...], done: set[int]) -> None:
        self.ledger = ledger
        self.all: dict[int, list[int]] = {}
        for one in jobs:
            self.all.setdefault(one.position // ledger.part, []).append(one.position)
        self.open = {number: set(positions) - done for number, positions in self.all.items()}
        self.ready = [number for number, left in self.open.items() if not left]

    def done(self, position: int) -> None:
        number = position // self.ledger.part
        self.open[number].discard(position)
        if not self.open[number]:
            self.ledger.close_part(number, self.all[number])

    def close(self) -> None:
        """Parts that were whole from the start: a run may have been killed before it could join them."""
        for number in self.ready:
            self.ledger.close_part(number, self.all[number])


Work = Callable[["BulkJob", Ledger, "list[Job]", Parts, Summary, Callable[[Progress], None]], None]
