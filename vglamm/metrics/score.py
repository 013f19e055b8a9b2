"""What a scorer hands on: a record of each case, and the rows that records are summed up to.

A :class:`Record` holds plain values only, so that a long evaluation is a file of JSON lines that can be stopped and resumed. The
numbers of a record are shares, 0..1; a :class:`Row` is in the unit in which the literature quotes its measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vglamm.errors import ConfigError
from vglamm.metrics.bootstrap import Interval, bootstrap_ratio

OK, FAILED, SKIPPED = "ok", "failed", "skipped"


@dataclass(frozen=True)
class Record:
    """One case. Every value is plain (str, number, bool, None, list, dict).

    id, video, group: of the case; questions about one video are drawn together for the intervals, and a group (a type of question,
    a set) has rows of its own. status: "ok", "failed" or "skipped". reason: name of the error of a case that is not "ok".
    published: numbers of the published scorer, None where it leaves the case out, for the reason ``left_out``. corrected: numbers
    of the corrected one, 0 for a case that failed. detail: what the summary needs beside numbers.
    """

    id: str
    video: str
    group: str = ""
    status: str = OK
    reason: str | None = None
    published: Mapping[str, float] | None = None
    left_out: str | None = None
    corrected: Mapping[str, float] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in (OK, FAILED, SKIPPED) or (self.status == OK) != (self.reason is None):
            raise ConfigError(
                f"a record that is {self.status!r} for {self.reason!r}", "a reason unless it is ok", "report this as a bug"
            )
        if (self.published is None) != (self.left_out is not None):
            raise ConfigError(
                f"published numbers {self.published!r} left out for {self.left_out!r}", "one of the two", "report this as a bug"
            )

    def to_row(self) -> dict[str, Any]:
        """A row for JSON."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Record:
        """What :meth:`to_row` made. ConfigError for a row with other fields."""
        names = {entry.name for entry in fields(cls)}
        if set(row) != names:
            raise ConfigError(f"a row with fields {sorted(row)}", f"{sorted(names)}", "score the cases again")
        return cls(**row)


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: see :mod:`vglamm.metrics.bootstrap`."""

    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Number:
    """A value with its interval over ``n`` cases; value None where it was not computed, and then ``note`` says why. low and high
    are None where no interval is known (a number that a foreign program gives for a whole set)."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A column of the literature. key: name in records and in the tables of :mod:`vglamm.metrics.published`. percent: is it quoted
    in percent (a share otherwise)."""

    key: str
    title: str
    percent: bool = False


@dataclass(frozen=True)
class Row:
    """A measure in both modes."""

    measure: Measure
    published: Number
    corrected: Number


@dataclass(frozen=True)
class Section:
    """Rows of one group of cases; group "" for all of them."""

    group: str
    cases: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Part:
    """What a task has to say. notes: where it departs from the published steps. judges: which program or model gave a number."""

    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    judges: Mapping[str, str] = field(default_factory=dict)


def not_computed(why: str) -> Number:
    """No number, and the reason."""
    return Number(note=f"not computed: {why}")


def quote(measure: Measure, found: Interval, note: str = "") -> Number:
    """An interval of shares in the unit of ``measure``."""
    scale = 100.0 if measure.percent else 1.0
    return Number(scale * found.mean, scale * found.low, scale * found.high, found.n, note)


def ratio(
    measure: Measure,
    values: Sequence[tuple[float, float, str]],
    resampling: Resampling,
    note: str = "",
    none: str = "no case has it",
) -> Number:
    """Sum of tops over sum of bottoms of ``values`` (top, bottom, video); not computed, for ``none``, if nothing has a bottom."""
    if not any(bottom > 0 for _, bottom, _ in values):
        return not_computed(none)
    tops, bottoms, videos = zip(*values, strict=True)
    return quote(measure, bootstrap_ratio(tops, bottoms, videos, **asdict(resampling)), note)


def mean_row(measure: Measure, records: Iterable[Record], resampling: Resampling) -> Row:
    """The mean of ``measure.key`` over the records that have it, in both modes."""
    everything = list(records)
    seen = [(r.published[measure.key], 1.0, r.video) for r in everything if r.published and measure.key in r.published]
    mine = [(r.corrected[measure.key], 1.0, r.video) for r in everything if measure.key in r.corrected]
    return Row(measure, ratio(measure, seen, resampling), ratio(measure, mine, resampling))


def by_group(records: Sequence[Record], rows: Callable[[Sequence[Record]], tuple[Row, ...]]) -> tuple[Section, ...]:
    """``rows`` of all records and, if there are several groups, of each group by name."""
    names = sorted({record.group for record in records})
    parts: list[tuple[str, Sequence[Record]]] = [("", records)]
    if len(names) > 1:
        parts += [(name, [record for record in records if record.group == name]) for name in names]
    return tuple(Section(name, len(mine), rows(mine)) for name, mine in parts)
