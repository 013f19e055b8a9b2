"""`vglamm convert`: a released checkpoint becomes one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import err, out

Tower = Annotated[str | None, typer.Option(help="Its own weights, used where the release lacks that tower.")]


def convert(
    source: Annotated[str, typer.Argument(help="A released VideoGLaMM folder, hub id or URL.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16. Default: as published.")] = None,
    clip: Tower = None,
    internvideo2: Tower = None,
    sam2: Tower = None,
) -> None:
    """Convert released weights: every tensor is used or dropped by name, in the memory of one tensor."""
    from vglamm.convert import convert_folder

    screen = err()

    def report(line: str) -> None:
        screen.print(Text(line, style="dim"))

    done = convert_folder(source, target, dtype=dtype, clip=clip, internvideo2=internvideo2, sam2=sam2, report=report)
    counts = f"{len(done.used)} tensors used, {len(done.dropped)} dropped on purpose"
    borrowed = "".join(f"; {tower} from {origin}" for tower, origin in done.borrowed.items())
    out().print(Text(f"checkpoint  {done.folder} ({counts}{borrowed})"))
