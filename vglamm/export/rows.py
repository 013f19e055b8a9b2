"""The rows of a run for an export: how many there are of each status, and the answered ones."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vglamm import annotation
from vglamm.annotation import FAILED, OK, SKIPPED, Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError

log = logging.getLogger(__name__)

Run = str | os.PathLike[str]
"""The folder that ``vglamm annotate`` wrote, or one of its files; see :func:`vglamm.annotation.read`."""


@dataclass(frozen=True)
class Tally:
    """How many rows a run has of each status. reasons: how many rows each type of error left out."""

    ok: int
    failed: int
    skipped: int
    reasons: Mapping[str, int]

    @property
    def left_out(self) -> int:
        return self.failed + self.skipped

    def __str__(self) -> str:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items()))
        return f"{self.ok} ok, {self.failed} failed, {self.skipped} skipped" + (f" ({why})" if why else "")


def tally(run: Run) -> Tally:
    """Count the rows of a run; only their statuses are read. ConfigError if it is no run, or none of its rows is ok."""
    statuses, reasons = Counter[str](), Counter[str]()
    system, files = annotation.parts(run)
    from pyarrow import ArrowException, parquet

    for name in files:
        try:
            with parquet.ParquetFile(name, filesystem=system) as file:
                if missing := [column for column in annotation.COLUMNS if column not in file.schema_arrow.names]:
                    raise ConfigError(f"{name} without {', '.join(missing)}", "what `vglamm annotate` wrote", "check the address")
                for batch in file.iter_batches(columns=["status", "error_type"]):
                    statuses.update(batch.column("status").to_pylist())
                    reasons.update(kind for kind in batch.column("error_type").to_pylist() if kind is not None)
        except ArrowException as error:
            raise ConfigError(f"{name}, a damaged file ({error})", "what `vglamm annotate` wrote", "copy it again") from error
    found = Tally(statuses[OK], statuses[FAILED], statuses[SKIPPED], dict(reasons))
    if not found.ok:
        raise ConfigError(f"a run of {found}", "at least one row that is ok", "see the reasons, mend them and annotate again")
    return found


def answered(run: Run) -> Iterator[tuple[Annotation, Answer]]:
    """The rows that are ok with their answers, in the order of the run, a few at a time. The others are named in the log."""
    for row in annotation.read(run):
        if row.answer is not None:
            yield row, row.answer
        else:
            log.info("left out %s, %s: %s", row.id, row.status, row.error)
