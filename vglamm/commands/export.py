"""`vglamm export`: the results of bulk annotation in another format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import err, out


class Form(StrEnum):
    """What can be written, see docs/export.md."""

    ytvis = "ytvis"
    coco_vid = "coco-vid"
    palette = "palette"
    mevis = "mevis"
    ref_youtube_vos = "ref-youtube-vos"
    mp4 = "mp4"
    webdataset = "webdataset"
    fiftyone = "fiftyone"
    cvat = "cvat"


class StatusOfFailed(StrEnum):
    """What becomes of rows that failed or were skipped."""

    report = "report"
    error = "error"
    empty = "empty"


def export(
    run: Annotated[str, typer.Argument(metavar="OUT", help="The folder that `vglamm annotate` wrote.", show_default=False)],
    form: Annotated[Form, typer.Argument(metavar="FORMAT", help=f"{', '.join(Form)}.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The file (.json, .zip) or folder to write.", show_default=False)],
    videos: Annotated[Path | None, typer.Option(help="Find videos in this folder. Default: where they were read.")] = None,
    with_videos: Annotated[bool, typer.Option("--with-videos", help="Put the videos in: webdataset, fiftyone.")] = False,
    expressions: Annotated[
        Path | None, typer.Option(help="meta_expressions.json, to hold a submission to: mevis, ref-youtube-vos.")
    ] = None,
    shard_rows: Annotated[int, typer.Option(help="Rows of a shard at most: webdataset.")] = 1000,
    status_of_failed: Annotated[
        StatusOfFailed,
        typer.Option(help="Rows without an answer: report them, take them for an error, or (submissions) write empty masks."),
    ] = StatusOfFailed.report,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Write the results of `vglamm annotate` in a format that other tools read."""
    from vglamm.export.formats import export as write
    from vglamm.export.settings import LeftOut, Settings

    settings = Settings(videos, with_videos, expressions, shard_rows, LeftOut(status_of_failed.value))
    with err().status(f"writing {target}"):
        rows = write(run, form.value, target, settings, overwrite=overwrite)
    out().print(Text(f"{form.value}  {target}  (rows: {rows})"))
    if rows.left_out:
        fate = "empty masks" if status_of_failed is StatusOfFailed.empty else "left out"
        err().print(Text(f"{rows.left_out} rows without an answer: {fate}; the run says why, see `error`", style="yellow"))
