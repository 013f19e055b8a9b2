"""Splits whose truth a server keeps: no scores here, but submissions, held to the cases that were asked.

Two zips, since the server scores what it is given: the *corrected* one holds the union of all objects of an answer, the *published*
one the first object alone, which is what the published scripts save.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from ray_jobs.evaluate.scoring import paired
from vglamm.annotation import FAILED, Annotation, table
from vglamm.answer import Answer
from vglamm.data.corpora import Case
from vglamm.errors import ConfigError
from vglamm.export.formats import export
from vglamm.export.settings import LeftOut, Settings
from vglamm.metrics.answers import outcome

SERVERS: Mapping[tuple[str, str], str] = {("mevis", "valid"): "mevis", ("ref_youtube_vos", "valid"): "ref-youtube-vos"}
"""(task, split) that is scored by a server, and the format of its submissions."""
_EXTRA = (pa.field("exp_id", pa.string()), pa.field("frames", pa.list_(pa.string())))
MODES = ("corrected", "published")
_BATCH = 16


@dataclass(frozen=True)
class HandedIn:
    """cases, failed: how many. files: the zips by mode; none if too many failed."""

    cases: int
    failed: int
    files: Mapping[str, Path]


def zips(target: Path) -> dict[str, Path]:
    """The corrected zip at ``target``, the published one beside it. ConfigError for another suffix."""
    if target.suffix.lower() != ".zip":
        raise ConfigError(f"--submission {target}", "a file name ending in .zip", "rename it")
    return {"corrected": target, "published": target.with_name(f"{target.stem}-published{target.suffix}")}


def hand_in(form: str, cases: Iterable[Case], rows: Iterable[Annotation], target: Path, max_failed: float) -> HandedIn:
    """Write both zips, each whole or not at all.

    form: of ``SERVERS``. max_failed: the share of cases that may have failed; they get empty masks, as a server counts what is
    missing. Raises CorpusError for a frame or an expression that a zip would lack, and for a failed video of which not even the
    first frame is there to tell its size.
    """
    files = zips(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".submission-", dir=target.parent) as scratch:
        runs = {mode: Path(scratch, f"{mode}.parquet") for mode in MODES}
        wanted = Path(scratch, "meta_expressions.json")
        count, failed, videos = _write(paired(cases, rows), runs, wanted)
        if failed > max_failed * count:
            return HandedIn(count, failed, {})
        settings = Settings(videos=videos, expressions=wanted, left_out=LeftOut.empty if failed else LeftOut.error)
        for mode in MODES:
            export(runs[mode], form, files[mode], settings, overwrite=True)
    return HandedIn(count, failed, files)


def _write(pairs: Iterator[tuple[Case, Annotation | None]], runs: Mapping[str, Path], wanted: Path) -> tuple[int, int, Path | None]:
    """Rows as a submission reads them, in both modes, and the list that they are held to; gives (cases, failed, the folder of the
    videos' folders)."""
    videos: dict[str, dict[str, Any]] = {}
    waiting: list[Annotation] = []
    count = failed = 0
    folder: Path | None = None
    with ExitStack() as stack:
        schema = table([], _EXTRA).schema
        writers = {mode: stack.enter_context(parquet.ParquetWriter(path, schema)) for mode, path in runs.items()}
        for case, row in pairs:
            meta, folder = case.meta, Path(case.media.uri).parent
            video = videos.setdefault(meta["video"], {"frames": list(meta["frames"]), "expressions": {}})
            video["expressions"][meta["exp_id"]] = {"exp": meta["expression"]}
            waiting.append(_row(case, row, count))
            failed += waiting[-1].answer is None
            count += 1
            if len(waiting) == _BATCH:
                _flush(writers, waiting)
        _flush(writers, waiting)
    wanted.write_text(json.dumps({"videos": videos}), encoding="utf-8")
    return count, failed, folder


def _flush(writers: Mapping[str, Any], waiting: list[Annotation]) -> None:
    if waiting:
        writers["corrected"].write_table(table(waiting, _EXTRA))
        writers["published"].write_table(table(map(_first, waiting), _EXTRA))
        waiting.clear()


def _row(case: Case, row: Annotation | None, position: int) -> Annotation:
    """The case's row under the names of the benchmark; one that answers about other frames than the benchmark's has failed."""
    answer, _, reason = outcome(case, row)
    extra = {"exp_id": str(case.meta["exp_id"]), "frames": list(case.meta["frames"])}
    known = {"id": case.id, "position": position, "video": str(case.meta["video"]), "extra": extra}
    if row is not None and answer is not None:
        return replace(row, **known)
    why = str(case.problem) if case.problem is not None else (row.error if row is not None and row.error else reason)
    return Annotation(uri=case.media.uri, question=case.question, status=FAILED, config="", error_type=reason, error=why, **known)


def _first(row: Annotation) -> Annotation:
    return row if row.answer is None else replace(row, answer=_first_object(row.answer))


def _first_object(answer: Answer) -> Answer:
    return replace(answer, tracks=answer.tracks[:1], phrases=tuple(phrase for phrase in answer.phrases if phrase.track == 0))
