"""Answers beside their cases: records of each, and one report of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from ray_jobs.evaluate.plan import CLIP, IN_CLIPS
from vglamm.annotation import Annotation
from vglamm.data.corpora import Case
from vglamm.errors import ConfigError
from vglamm.metrics.report import Body, Provenance, build
from vglamm.metrics.score import Part, Record, Row, Section
from vglamm.metrics.tasks import Settings, Task


def paired(cases: Iterable[Case], rows: Iterable[Annotation]) -> Iterator[tuple[Case, Annotation | None]]:
    """Each case with its row, None where it cannot be asked. ConfigError if the rows are not those of the cases: the set on disk
    has changed since they were asked."""
    left = iter(rows)
    for case in cases:
        if not case.usable:
            yield case, None
            continue
        row = next(left, None)
        if row is None or row.question != case.question or case.id not in (row.extra.get("cases") or ()):
            raise _changed(f"{'no row' if row is None else f'row {row.id!r}'} for case {case.id!r}")
        yield case, row
    if (row := next(left, None)) is not None:
        raise _changed(f"row {row.id!r} for no case")


def _changed(got: str) -> ConfigError:
    return ConfigError(got, "one row for each case that can be asked", "has the set changed? choose another --out")


def score_all(task: Task, cases: Iterable[Case], rows: Iterable[Annotation]) -> list[Record]:
    """One record for each case, in their order."""
    return [task.score(case, row) for case, row in paired(cases, rows)]


def report(task: Task, records: Sequence[Record], provenance: Provenance, settings: Settings) -> Body:
    """As :func:`vglamm.metrics.report.build`; of Ref-DAVIS17 the published numbers are those of the clips, the corrected ones those
    of the whole videos."""
    if task.name != IN_CLIPS:
        return build(task, records, provenance, settings)
    whole, published = _apart(records)
    return build(replace(task, summarise=partial(_both, task, published)), whole, provenance, settings)


def _apart(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Records of whole videos, and those that the published protocol has: clips where a video is longer than one."""
    parts = [record for record in records if record.detail["clip"] != [0, 0]]
    cut = {record.id.rpartition("@")[0] for record in parts}
    whole = [record for record in records if record.detail["clip"] == [0, 0]]
    return whole, parts + [record for record in whole if record.id not in cut]


def _both(task: Task, published: Sequence[Record], whole: Sequence[Record], settings: Settings) -> Part:
    theirs, ours = task.summarise(published, settings), task.summarise(whole, settings)
    sections = tuple(
        Section(mine.group, mine.cases, tuple(_row(a, b) for a, b in zip(one.rows, mine.rows, strict=True)))
        for one, mine in zip(theirs.sections, ours.sections, strict=True)
    )
    asked = f"published: asked in {len(published)} clips of at most {CLIP} frames; corrected: asked once of each whole video."
    notes = [note for note in theirs.notes if note.startswith("published")] + [
        note for note in ours.notes if note.startswith("corrected")
    ]
    return Part(sections, (*notes, asked), ours.judges)


def _row(published: Row, corrected: Row) -> Row:
    return Row(corrected.measure, published.published, corrected.corrected)
