"""Scores on the terminal: the tables of `vglamm evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

COLUMNS = {
    "miou": "mIoU",
    "miou_everything": "all marked",
    "text_exact": "text exact",
    "twin_right": "right twin",
    "absent_right": "absent right",
}
"""The scores of the generated world that tell most (all are in the JSON), and their titles: "all marked" is the mIoU of a mask of
everything."""


def world(title: str, summary: dict[str, Any]) -> Table:
    """One row for each kind of question: means, and what the blind control reached."""
    caption = "in brackets: the same questions while another video is shown" if summary["blind_questions"] else None
    table = Table("kind", "questions", *COLUMNS.values(), title=title, caption=caption, header_style="bold")
    for group in summary["groups"]:
        if group["level"] is None:
            cells = [_cell(name, group) for name in COLUMNS]
            table.add_row(group["kind"] or "all", str(group["questions"]), *cells)
    return table


def _cell(name: str, group: dict[str, Any]) -> str:
    score, blind = group["metrics"][name], (group["blind"] or {}).get(name)
    if score is None:
        return ""
    control = "" if blind is None or name == "miou_everything" else f" ({blind['mean']:.2f})"
    return f"{score['mean']:.2f}{control}"


def numbers(body: dict[str, Any] | None) -> Iterator[Table]:
    """A table for each group of cases of a report of :mod:`vglamm.metrics.report`: both modes beside the paper. None has none."""
    for section in (body or {"sections": []})["sections"]:
        title = f"{section['group'] or 'all cases'}: {section['cases']}"
        table = Table("", "published", "corrected", "paper", title=title, header_style="bold", title_justify="left")
        for row in section["rows"]:
            digits = 2 if row["unit"] else 3
            paper = "" if row["paper"] is None else f"{row['paper']:.{digits}f}"
            cells = [_number(row[mode], digits) for mode in ("published", "corrected")]
            table.add_row(f"{row['title']}{' (%)' if row['unit'] else ''}", *cells, paper)
        yield table


def _number(number: dict[str, Any], digits: int) -> str:
    if number["value"] is None:
        return str(number["note"])
    if number["low"] is None or number["high"] is None:
        return f"{number['value']:.{digits}f}"
    return f"{number['value']:.{digits}f}  {number['low']:.{digits}f} to {number['high']:.{digits}f}"


def write_json(path: Path, report: dict[str, Any]) -> None:
    """The report of the generated world, in a folder that is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
