"""The report of one evaluation: published and corrected side by side, beside what was published, as JSON and Markdown.

The same records and settings give the same bytes: records are taken by id, numbers are rounded, nothing in it is a time, a path or
a machine. The numbers of a CLAIR judge are as steady as the judge.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vglamm.errors import ConfigError
from vglamm.metrics.published import OURS, SPLITS, PublishedRow, published_rows
from vglamm.metrics.score import FAILED, OK, SKIPPED, Measure, Number, Record, Section
from vglamm.metrics.tasks import Settings, Task

FORMAT, VERSION = "vglamm.report", 1
_DIGITS = 6

Body = dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """What was evaluated, so that a number can be had again.

    model: hash of weights and config (``Answer.model``). config: hash of the run's settings (``Annotation.config``). manifest: hash
    of what was asked. split: of the set. commit: of the code. seeds: name -> seed. more: anything else, plain values.
    """

    model: str
    config: str
    manifest: str
    split: str = ""
    commit: str = ""
    seeds: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


def build(task: Task, records: Iterable[Record], provenance: Provenance, settings: Settings | None = None) -> Body:
    """The report as plain values. ConfigError for no records, or two of one id."""
    settings = settings or Settings()
    ordered = sorted(records, key=lambda record: record.id)
    if not ordered:
        raise ConfigError("no records", "one or more cases", "evaluate at least one case")
    if twice := [name for name, count in Counter(record.id for record in ordered).items() if count > 1]:
        raise ConfigError(f"several records of {twice[0]!r}", "one for each case", "score each case once")
    part = task.summarise(ordered, settings)
    rows, published_on = published_rows(task.tables), SPLITS.get(task.tables)
    elsewhere = published_on not in (None, provenance.split)
    unlike = f"The paper's numbers are of the split {published_on}, these cases are of {provenance.split or 'another'}: no match."
    body = {
        "format": FORMAT,
        "version": VERSION,
        "task": task.name,
        "title": task.title,
        "provenance": asdict(provenance),
        "cases": _cases(ordered),
        "bootstrap": asdict(settings.resampling),
        "sections": [_section(section, ordered, rows) for section in part.sections],
        "tables": [asdict(row) for row in rows],
        "paper": f"paper, on {published_on}" if elsewhere else "paper",
        "judges": dict(part.judges),
        "notes": [*part.notes, *([unlike] if elsewhere else [])],
    }
    rounded: Body = _rounded(body)
    return rounded


def to_json(body: Body) -> str:
    """The report as JSON, keys sorted."""
    return json.dumps(body, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(body: Body) -> str:
    """The report as Markdown: what was evaluated, a table for each group of cases, what others published, and notes."""
    cases, bootstrap = body["cases"], body["bootstrap"]
    percent = f"{100 * bootstrap['confidence']:g} %"
    lines = [f"# {_escape(body['title'])}", "", *_provenance(body), ""]
    lines += [f"{cases['total']} cases, {cases['answered']} answered{_reasons('failed', cases)}{_reasons('skipped', cases)}.", ""]
    lines += [f"The published scorer counts {cases['published']} of them{_reasons('left out', cases)}.", ""]
    lines.append(
        f"In brackets: {percent} intervals, bootstrap over videos, {bootstrap['resamples']} resamples, seed {bootstrap['seed']}."
    )
    for section in body["sections"]:
        lines += [
            "",
            f"## {_escape(section['group'] or 'All cases')}",
            "",
            f"{section['cases']} cases.",
            "",
            *_table(section, body["paper"]),
        ]
    if others := _others(body):
        lines += ["", "## As published", "", *others]
    if body["judges"]:
        lines += ["", "## Judges", "", *(f"- {name}: {_escape(judge)}" for name, judge in sorted(body["judges"].items()))]
    if body["notes"]:
        lines += ["", "## Notes", "", *(f"- {_escape(note)}" for note in body["notes"])]
    return "\n".join(lines) + "\n"


def _cases(records: Sequence[Record]) -> Body:
    def reasons(status: str) -> dict[str, int]:
        return dict(Counter(str(record.reason) for record in records if record.status == status))

    return {
        "total": len(records),
        "answered": sum(record.status == OK for record in records),
        "failed": reasons(FAILED),
        "skipped": reasons(SKIPPED),
        "published": sum(record.published is not None for record in records),
        "left out": dict(Counter(record.left_out for record in records if record.left_out is not None)),
    }


def _section(section: Section, records: Sequence[Record], published: Sequence[PublishedRow]) -> Body:
    ours = next((row.numbers for row in published if row.model == OURS), {})
    # a table may tell of one group alone; where a run has that group alone, all its cases are the group
    groups = sorted({record.group for record in records})
    group = section.group or (groups[0] if len(groups) == 1 else "")
    return {
        "group": section.group,
        "cases": section.cases,
        "rows": [
            {
                "measure": row.measure.key,
                "title": row.measure.title,
                "unit": "%" if row.measure.percent else "",
                "published": asdict(row.published),
                "corrected": asdict(row.corrected),
                "paper": _of_paper(ours, group, row.measure),
            }
            for row in section.rows
        ],
    }


def _of_paper(numbers: Mapping[str, float], group: str, measure: Measure) -> float | None:
    return numbers.get(f"{group}/{measure.key}", numbers.get(measure.key))


def _rounded(value: Any) -> Any:
    """Plain values with floats of :data:`_DIGITS` decimals: the last bits of a sum differ from machine to machine."""
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0  # no minus zero
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in sorted(value.items())}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _provenance(body: Body) -> list[str]:
    told = body["provenance"]
    named = {name: told[name] for name in ("model", "config", "manifest", "split", "commit") if told[name]}
    named |= {f"seed of {name}": seed for name, seed in told["seeds"].items()} | told["more"]
    return [f"- {_escape(str(name))}: `{str(value).replace('`', '')}`" for name, value in named.items()]


def _reasons(name: str, cases: Body) -> str:
    found = cases[name]
    if not found:
        return ""
    return f"; {sum(found.values())} {name} ({', '.join(f'{_escape(reason)} {count}' for reason, count in sorted(found.items()))})"


def _table(section: Body, paper_is: str) -> list[str]:
    lines = [f"| | published | n | corrected | n | {OURS}'s {paper_is} |", "|---|---|---|---|---|---|"]
    for row in section["rows"]:
        title = _escape(row["title"]) + (" (%)" if row["unit"] else "")
        digits = 2 if row["unit"] else 3
        cells = [title]
        for mode in ("published", "corrected"):
            number = Number(**row[mode])
            cells += [_number(number, digits), str(number.n) if number.n else ""]
        paper = row["paper"]
        lines.append(f"| {' | '.join([*cells, '' if paper is None else f'{paper:.{digits}f}'])} |")
    return lines


def _number(number: Number, digits: int) -> str:
    if number.value is None:
        return _escape(number.note)
    text = f"{number.value:.{digits}f}"
    if number.low is not None and number.high is not None:
        text += f" [{number.low:.{digits}f}, {number.high:.{digits}f}]"
    return text + (f" ({_escape(number.note)})" if number.note else "")


def _others(body: Body) -> list[str]:
    """One row for each published model, one column for each of its numbers."""
    rows = body["tables"]
    measures = [row["measure"] for section in body["sections"][:1] for row in section["rows"]]
    told = {key for row in rows for key in row["numbers"]}
    keys = [key for key in measures if key in told] + sorted(told - set(measures))
    if not keys:
        return []
    lines = [f"| | {' | '.join(keys)} | source |", "|" + "---|" * (len(keys) + 2)]
    for row in rows:
        cells = ["" if key not in row["numbers"] else f"{row['numbers'][key]:g}" for key in keys]
        lines.append(f"| {_escape(row['model'])} | {' | '.join(cells)} | {_escape(row['source'])} |")
    return lines


def _escape(text: str) -> str:
    """Text that cannot break out of a table's cell or a line."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
