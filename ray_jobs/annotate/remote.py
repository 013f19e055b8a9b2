"""A bulk job answered by an endpoint that runs already: the same manifest, folder and rows, without a Ray of its own.

How an endpoint is asked is its client's affair; here it is only a :class:`Endpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.stages import rows_of
from vglamm.annotation import OK, Annotation
from vglamm.answer import Answer
from vglamm.errors import EnvironmentProblem, Unauthorised, VglammError, VideoUnreadable
from vglamm.places import local_copy, sha256

if TYPE_CHECKING:
    from ray_jobs.annotate.ledger import Ledger
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.run import BulkJob, Parts
    from ray_jobs.annotate.summary import Progress, Summary

_FATAL = (EnvironmentProblem, Unauthorised)
"""Of the endpoint, not of a video: the job ends, and the same command goes on later."""


class Endpoint(Protocol):
    """What answers. at_once: videos at a time."""

    at_once: int

    def identity(self) -> str:
        """What model answers there, as ``Answer.model`` says it."""
        ...

    def answers(self, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Iterator[Answer | VglammError]:
        """For each question about a local video its answer, each alone, or why there is none. A VglammError of the video itself is
        raised. options: of :func:`vglamm.frames.choose`, ``mode`` and ``max_new_tokens``."""
        ...


def annotate_at(job: BulkJob, endpoint: Endpoint, watch: Callable[[Progress], None]) -> Summary:
    """Do what is missing of a job, as :func:`ray_jobs.annotate.run.annotate`."""
    from ray_jobs.annotate.run import fill

    def work(
        job: BulkJob, ledger: Ledger, missing: list[Job], parts: Parts, summary: Summary, watch: Callable[[Progress], None]
    ) -> None:
        with ThreadPoolExecutor(endpoint.at_once) as pool:
            going = {pool.submit(_annotated, one, job, endpoint): one for one in missing}
            try:
                for done in as_completed(going):
                    position, rows = going[done].position, done.result()
                    ledger.write(position, rows)
                    summary.add(_told(rows))
                    parts.done(position)
                    watch(summary.progress({}))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after an error, what has not begun does not

    return fill(job, work, watch)


def _annotated(one: Job, job: BulkJob, endpoint: Endpoint) -> list[Annotation]:
    """The rows of one video. What the video causes becomes their error."""
    from ray_jobs.annotate.run import parcel_of

    parcel, limits = parcel_of(one, job), job.settings.limits
    try:
        with local_copy(one.uri, limits) as path:
            if Path(path).is_dir():
                raise VideoUnreadable(f"{path!r}, a folder of frames", "a file, which can be sent", "annotate it without --server")
            limits.check_file(path)
            parcel = Parcel(parcel.position, parcel.plain | {"sha256": sha256(path)})
            options = {
                **job.settings.sampling,
                **dict(one.sampling),
                "mode": job.settings.mode,
                "max_new_tokens": job.settings.max_new_tokens,
            }
            options.pop("source_fps", None)  # a file has a rate of its own
            found: list[Answer | VglammError] = list(endpoint.answers(path, one.questions, options))
    except _FATAL:
        raise
    except VglammError as error:
        found = [error] * len(one.questions)
    blank = rows_of(parcel.fail("", ""))
    return [_row(row, answer, one.uri) for row, answer in zip(blank, found, strict=True)]


def _row(blank: Annotation, found: Answer | VglammError, uri: str) -> Annotation:
    if isinstance(found, VglammError):
        return replace(blank, error_type=type(found).__name__, error=str(found))
    return replace(blank, status=OK, answer=replace(found, source=uri), error_type=None, error=None)


def _told(rows: list[Annotation]) -> dict[str, Any]:
    """A receipt, as of the pools. Tokens are the server's to count."""
    answers = [row.answer for row in rows if row.answer is not None]
    return {
        "rows": len(rows),
        "failed": len(rows) - len(answers),
        "phrases": sum(len(answer.phrases) for answer in answers),
        "seen": len(answers[0].sampling.llm_indices) if answers else 0,
        "tokens": 0,
        "frames": sum(len(answer.tracks[0].rle) for answer in answers[:1] if answer.tracks),
        "masks": sum(len(track.rle) for answer in answers for track in answer.tracks),
        "timings": answers[0].timings if answers else {},
        "where": {},
    }
