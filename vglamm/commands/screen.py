"""The terminal: one console for results, one for everything else, and how an error is shown."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from vglamm.errors import VglammError


def out() -> Console:
    """Where results go: standard output as it is now."""
    return Console(highlight=False)


def err() -> Console:
    """Where progress, logs and errors go: standard error as it is now."""
    return Console(stderr=True, highlight=False)


def show_error(error: VglammError | OSError) -> None:
    """Write the three parts of an error to standard error, each on a line of its own."""
    if isinstance(error, OSError):
        parts = (str(error), "a file that can be read, or a folder that can be written", "check the path and its permissions")
    else:
        parts = (error.got, error.expected, error.fix)
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("error", style="bold red"), Text(type(error).__name__))
    for word, part in zip(("got", "expected", "to do"), parts, strict=True):
        table.add_row(Text(word, style="dim"), Text(part, overflow="fold"))
    err().print(table)


def log_to_terminal(level: int = logging.WARNING) -> None:
    """Send the library's log to standard error."""
    handler = RichHandler(console=err(), show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)
