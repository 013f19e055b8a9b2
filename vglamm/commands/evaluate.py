"""`vglamm evaluate`: the model on a set whose answers are known."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from vglamm.commands.screen import err, out


class Suite(StrEnum):
    """What can be evaluated on."""

    world = "world"


class Difficulty(StrEnum):
    """Settings of the generated world."""

    easy = "easy"
    normal = "normal"
    hard = "hard"


def evaluate(
    suite: Annotated[Suite, typer.Argument(help="world: clips of the generated world.", show_default=False)],
    model: Annotated[str, typer.Option(help="A preset with weights, a checkpoint folder, or a hub id.")] = "tiny",
    seed: Annotated[
        int, typer.Option(min=0, help="The first clip. Training takes low numbers: stay far above them.")
    ] = 700_000_000,
    count: Annotated[int, typer.Option(min=1, help="Clips.")] = 100,
    level: Annotated[str | None, typer.Option(help="shapes, things or mixed. Default: as they come.")] = None,
    difficulty: Annotated[Difficulty, typer.Option(help="How hard scenes are.")] = Difficulty.normal,
    controls: Annotated[bool, typer.Option(help="Also ask while another video, or no motion, is shown.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write the whole report as JSON.")] = None,
) -> None:
    """Score a model on clips whose answers are known, beside what blind answers would score."""
    import vglamm
    from ray_jobs.evaluate import WorldTask, evaluate_world

    task = WorldTask(seed, count, level=level, difficulty=difficulty.value, controls=controls)
    with err().status(f"loading {model}"):
        walk = vglamm.load(model, device=device)
    with Progress(console=err(), transient=True) as progress:
        bar = progress.add_task(f"asking {model}", total=count)
        report = evaluate_world(walk, task, lambda done, of: progress.update(bar, completed=done, total=of))
    for part, summary in report.items():
        if isinstance(summary, dict) and "groups" in summary:
            out().print(_table(part.replace("_", " "), summary))
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(json_format.dumps(report, indent=2) + "\n", encoding="utf-8")
        out().print(Text(f"json  {json}", style="dim"))


COLUMNS = {
    "miou": "mIoU",
    "miou_everything": "all marked",
    "text_exact": "text exact",
    "twin_right": "right twin",
    "absent_right": "absent right",
}
"""The scores that tell most (all are in the JSON), and their titles: "all marked" is the mIoU of a mask of everything."""


def _table(title: str, summary: dict[str, Any]) -> Table:
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
