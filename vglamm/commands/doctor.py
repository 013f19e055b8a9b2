"""`vglamm doctor`: the findings as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from vglamm.commands.screen import err, out

STYLES = {"ok": "green", "warn": "yellow", "block": "bold red"}


def doctor(
    model: Annotated[str | None, typer.Option(help="Also tell the memory that each part of this preset needs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the findings as JSON to standard output.")] = False,
) -> None:
    """Look at this machine: packages, decoders, memory, cores, GPU. Exits 1 if something blocks."""
    from vglamm.doctor import examine

    with err().status("looking at this machine"):
        findings = list(examine(model))
    if as_json:
        out().print_json(json.dumps([asdict(finding) for finding in findings]))
    else:
        table = Table("", "what", "found", "what to do", show_lines=False, header_style="bold", expand=False)
        for finding in findings:
            style = STYLES[finding.state]
            table.add_row(
                Text(finding.state, style=style),
                *(Text(cell, overflow="fold") for cell in (finding.name, finding.found, finding.fix)),
            )
        out().print(table)
    if any(finding.state == "block" for finding in findings):
        raise typer.Exit(1)
