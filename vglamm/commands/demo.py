"""`vglamm demo`: the demonstration on the terminal, told as it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import err, out


def demo(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder for the clips, the masked videos, the page and the JSON.")
    ] = Path("out/demo"),
    model: Annotated[str, typer.Option(help="A preset with weights, or a checkpoint folder.")] = "tiny",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Let the shipped model answer questions about two clips; the truth stands beside its answers."""
    screen, clip = out(), ""
    with err().status("starting") as status:
        from vglamm.commands.show import shown
        from vglamm.demo import run

        status.update(f"asking {model}")
        for step in run(out_folder, model, device):
            if step.clip != clip:
                clip = step.clip
                screen.rule(clip)
            screen.print(shown(step.answer))
            overlap = "nothing to mask" if step.overlap is None else f"masks overlap {step.overlap:.0%} with the true ones"
            screen.print(Text(f"truth  {step.truth} ({overlap}; {step.overlay})", style="dim"))
            screen.print()
    screen.print(Text(f"page   {out_folder / 'index.html'}"))
    screen.print(Text(f"json   {out_folder / 'answers.json'}"))
