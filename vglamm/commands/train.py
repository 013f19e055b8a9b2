"""`vglamm train`: a recipe, with changes from the command line, becomes a run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import out


def train(
    recipe: Annotated[str, typer.Argument(help="A named recipe or the path of a YAML file.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it, such as optimiser.lr=1e-4.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name. A run of this name is resumed where it stopped.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray and DeepSpeed.")] = False,
) -> None:
    """Train a model; a run that was interrupted goes on when it is started again under its name."""
    from ray_jobs.train.run import train as run

    checkpoint = run(recipe, overrides or [], local=local, name=name)
    out().print(Text(f"checkpoint  {checkpoint}"))
