"""A bulk job answered by an endpoint that runs already: the same manifest, folder and rows, without a Ray of its own.

How an endpoint is asked is its client's affair; here it is only a :class:`Endpoint`.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ray_jobs.annotate.board import Board, Note, Tally
from ray_jobs.annotate.fill import Parts, fill, parcel_of
from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.stages import rows_of
from vglamm.annotation import OK, Annotation
from vglamm.answer import Answer
from vglamm.errors import EnvironmentProblem, ModelUnknown, Overloaded, Unauthorised, VglammError
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits
from vglamm.media.lossless import write_lossless
from vglamm.places import local_copy, sha256

if TYPE_CHECKING:
    from ray_jobs.annotate.ledger import Ledger
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.run import BulkJob
    from ray_jobs.annotate.summary import Progress, Summary

STAGE = "endpoint"
"""All that is seen from here of the stages there."""
_PERIOD = 1.0
_FATAL = (EnvironmentProblem, Unauthorised, ModelUnknown, Overloaded)
"""Of the endpoint, not of a video: the job ends, and the same command goes on later."""


_Rows = Future[tuple[list[Annotation], int | None]]


class Said(Protocol):
    """An answer. written_tokens: of it; None if they are not counted there."""

    @property
    def answer(self) -> Answer: ...
    @property
    def written_tokens(self) -> int | None: ...


class Endpoint(Protocol):
    """What answers. at_once: videos at a time."""

    at_once: int

    def identity(self) -> str:
        """What model answers there, as ``Answer.model`` says it."""
        ...

    def answers(self, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Iterator[Said | VglammError]:
        """For each question about a local video its answer, each alone, or why there is none. A VglammError of the video itself is
        raised. options: of :func:`vglamm.frames.choose`, ``mode`` and ``max_new_tokens``."""
        ...

    def leave(self) -> None:
        """Wait for no answer any more, in whatever thread; nothing is asked afterwards."""
        ...


@dataclass(frozen=True)
class Heard:
    """What came of the questions about one video. tokens: that were written; None if the endpoint does not count them."""

    found: list[Answer | VglammError]
    tokens: int | None = 0


def annotate_at(job: BulkJob, endpoint: Endpoint, watch: Callable[[Progress], None]) -> Summary:
    """Do what is missing of a job, as :func:`ray_jobs.annotate.run.annotate`."""

    def work(
        job: BulkJob, ledger: Ledger, missing: list[Job], parts: Parts, summary: Summary, watch: Callable[[Progress], None]
    ) -> None:
        left, board = iter(missing), _Board()
        going: dict[_Rows, Job] = {}  # what waits here is bounded, and what is written is forgotten

        def in_turn(done: _Rows) -> tuple[bool, int]:
            """What ends the run comes after what was answered beside it, which is kept."""
            return done.exception() is not None, going[done].position

        with ThreadPoolExecutor(endpoint.at_once) as pool:
            try:
                while True:
                    for one in islice(left, 2 * endpoint.at_once - len(going)):
                        going[pool.submit(_noted, one, job, endpoint, board)] = one
                    if not going:
                        break
                    for done in sorted(wait(going, timeout=_PERIOD, return_when=FIRST_COMPLETED).done, key=in_turn):
                        position, (rows, tokens) = going.pop(done).position, done.result()
                        ledger.write(position, rows)
                        summary.add(_told(rows, tokens))
                        parts.done(position)
                    watch(summary.progress(board.read()))
            except BaseException:
                endpoint.leave()  # a long video would be waited for
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after an error, what has not begun does not
        summary.tallies = board.read()

    return fill(job, work, watch)


class _Board(Board):
    """Told by threads of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies[STAGE], self._lock = Tally(), threading.Lock()

    def take(self, note: Note) -> None:
        with self._lock:
            super().take(note)


def _noted(one: Job, job: BulkJob, endpoint: Endpoint, board: Board) -> tuple[list[Annotation], int | None]:
    began = time.perf_counter()
    rows, tokens = rows_from(one, job, endpoint)
    failed = all(row.answer is None for row in rows)
    board.take(Note(STAGE, "here", threading.get_native_id(), 1, int(failed), time.perf_counter() - began, time.time()))
    return rows, tokens


def rows_from(one: Job, job: BulkJob, endpoint: Endpoint) -> tuple[list[Annotation], int | None]:
    """The rows of one video, not yet in the folder, and its tokens as of :class:`Heard`. What the video causes becomes their
    error."""
    parcel, limits = parcel_of(one, job), job.settings.limits
    questions = parcel.plain["questions"]
    options = {
        **job.settings.options(one.sampling),
        "mode": job.settings.mode,
        "max_new_tokens": job.settings.max_new_tokens,
    }
    source_fps = options.pop("source_fps", None)  # a file has a rate of its own
    try:
        with local_copy(one.uri, limits) as path:
            if os.path.isdir(path):
                parcel = Parcel(parcel.position, parcel.plain | {"sha256": sha256(path)})
                heard = _of_frames(path, source_fps, limits, questions, options, endpoint)
            else:
                limits.check_file(path)
                parcel = Parcel(parcel.position, parcel.plain | {"sha256": sha256(path)})
                heard = _heard(endpoint, path, questions, options)
    except _FATAL:
        raise
    except VglammError as error:
        heard = Heard([error] * len(questions))
    _check_model(heard, job.model)
    blank = rows_of(parcel.fail("", ""))
    return [_row(row, answer, one.uri) for row, answer in zip(blank, heard.found, strict=True)], heard.tokens


def _check_model(heard: Heard, model: str | None) -> None:
    """A server that is started anew with other weights would go on in the rows of those before."""
    others = {one.model for one in heard.found if isinstance(one, Answer)} - {model}
    if others:
        raise EnvironmentProblem(
            f"answers of {', '.join(sorted(others))} from the endpoint",
            f"the model that this run began with, {model}",
            "serve that one and give the same command again, or choose another --out",
        )


def _heard(endpoint: Endpoint, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Heard:
    """What came before an error of the video stays answered."""
    found: list[Answer | VglammError] = []
    tokens: int | None = 0
    try:
        for said in endpoint.answers(path, questions, options):
            if isinstance(said, VglammError):
                found.append(said)
                continue
            found.append(said.answer)
            tokens = None if tokens is None or said.written_tokens is None else tokens + said.written_tokens
    except _FATAL:
        raise
    except VglammError as error:
        found += [error] * (len(questions) - len(found))
    return Heard(found, tokens)


def _of_frames(
    folder: str, fps: float | None, limits: Limits, questions: Sequence[str], options: Mapping[str, Any], endpoint: Endpoint
) -> Heard:
    """Answers about a folder of frames, which is sent as a file of the same pictures. Their times are those of the folder, which
    differ from the file's in the last bits."""
    with closing(open_guarded(folder, limits, fps=fps)) as source, tempfile.TemporaryDirectory(prefix="vglamm-") as scratch:
        file = Path(scratch) / "frames.mp4"
        write_lossless(file, source)
        heard = _heard(endpoint, str(file), questions, options)

    def timed(answer: Answer) -> Answer:
        sampling = answer.sampling
        llm, grounding = (tuple(map(float, source.times[list(i)])) for i in (sampling.llm_indices, sampling.grounding_indices))
        return replace(
            answer, sampling=replace(sampling, llm_times=llm, grounding_times=grounding, source_fps=float(source.info.fps))
        )

    return replace(heard, found=[timed(one) if isinstance(one, Answer) else one for one in heard.found])


def _row(blank: Annotation, found: Answer | VglammError, uri: str) -> Annotation:
    if isinstance(found, VglammError):
        return replace(blank, error_type=type(found).__name__, error=str(found))
    return replace(blank, status=OK, answer=replace(found, source=uri), error_type=None, error=None)


def _told(rows: list[Annotation], tokens: int | None) -> dict[str, Any]:
    """A receipt, as of the pools."""
    answers = [row.answer for row in rows if row.answer is not None]
    return {
        "rows": len(rows),
        "failed": len(rows) - len(answers),
        "phrases": sum(len(answer.phrases) for answer in answers),
        "seen": len(answers[0].sampling.llm_indices) if answers else 0,
        "tokens": tokens,
        "frames": sum(len(answer.tracks[0].rle) for answer in answers[:1] if answer.tracks),
        "masks": sum(len(track.rle) for answer in answers for track in answer.tracks),
        "timings": answers[0].timings if answers else {},
        "where": {},
    }
