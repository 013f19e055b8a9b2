"""Scores on the terminal: the tables of `vglamm evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

COLUMNS = {
    "miou": "mIoU",
    "miou_everything": "union",
    "miou_random": "random",
    "j": "J",
    "f": "F",
    "phrase_recall": "phrase recall",
    "text_exact": "text exact",
    "absent_right": "absent right",
    "twin_right": "right twin",
}
"""Scores of the generated world, and their titles; all are in the JSON."""
BESIDE = ("miou", "phrase_recall", "text_exact", "absent_right", "twin_right")
"""Those with what the blind control reached in brackets."""


def world(title: str, summary: dict[str, Any]) -> Table:
    """Means for each kind of question and, below it, for each level, beside two baselines and what the blind control reached."""
    caption = "union, random: the mIoU of a mask of all objects, of a random object"
    caption += "; in brackets: the same questions while another video is shown" if summary["blind_questions"] else ""
    caption += f"; {summary['failed']} of {summary['questions']} questions failed and count as 0" if summary["failed"] else ""
    table = Table(title=title, caption=caption, header_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("kind", no_wrap=True)
    for name in ("n", *COLUMNS.values()):
        table.add_column("\n".join(name.split()), justify="right")
    groups = {(group["kind"], group["level"]): group for group in summary["groups"]}
    kinds, levels = (list(dict.fromkeys(key[part] for key in groups)) for part in (0, 1))
    for kind in kinds:
        for level in levels:
            group = groups.get((kind, level))
            if group is None:
                continue
            name, style = (kind or "all", "") if level is None else (f"  {level}", "dim")
            table.add_row(name, str(group["questions"]), *(_cell(column, group) for column in COLUMNS), style=style)
    return table


def _cell(name: str, group: dict[str, Any]) -> str:
    score, blind = group["metrics"][name], (group["blind"] or {}).get(name)
    if score is None:
        return ""
    return f"{score['mean']:.2f}" + (f" ({blind['mean']:.2f})" if blind is not None and name in BESIDE else "")


def numbers(body: dict[str, Any] | None) -> Iterator[Table]:
    """A table for each group of cases of a report of :mod:`vglamm.metrics.report`: both modes beside the paper. None has none."""
    paper_is = (body or {"paper": ""})["paper"]
    for section in (body or {"sections": []})["sections"]:
        title = f"{section['group'] or 'all cases'}: {section['cases']}"
        table = Table("", "published", "corrected", paper_is, title=title, header_style="bold", title_justify="left")
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
