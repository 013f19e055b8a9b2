"""`vglamm view`: a local page to browse the results of bulk annotation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from vglamm.commands.screen import out


def view(
    run: Annotated[str, typer.Argument(metavar="OUT", help="The folder that `vglamm annotate` wrote.", show_default=False)],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine. Default: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    videos: Annotated[
        Path | None, typer.Option(help="Folder to look for the videos in, if they are not where they were annotated.")
    ] = None,
) -> None:
    """Browse the answers of a run in a browser: search them, watch their masks. Ends with Ctrl-C."""
    import webbrowser

    from vglamm.view.server import Viewer
    from vglamm.view.site import Site

    with Viewer(Site(run, videos), port) as viewer:
        out().print(Text(viewer.url), soft_wrap=True)
        out().print(Text("Ctrl-C ends it", style="dim"))
        if browser:
            webbrowser.open(viewer.url)
        viewer.serve_forever()
