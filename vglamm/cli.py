"""The console command `vglamm`. Exit codes: 0 done, 1 `doctor` found what blocks, 2 an error of usage or input, 130 Ctrl-C.

Nothing heavy is imported here: each command imports its driver when it is called, so `vglamm --help` answers at once.
"""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vglamm.commands.annotate import annotate
from vglamm.commands.ask import ask
from vglamm.commands.convert import convert
from vglamm.commands.demo import demo
from vglamm.commands.doctor import doctor
from vglamm.commands.evaluate import evaluate
from vglamm.commands.export import export
from vglamm.commands.extras import lacking
from vglamm.commands.screen import log_to_terminal, out, show_error
from vglamm.commands.serve import serve
from vglamm.commands.train import train
from vglamm.commands.view import view
from vglamm.errors import EnvironmentProblem, VglammError

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says, in a RuntimeError, of a GPU and of the processor's own memory."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # an unexpected exception is a bug: its plain traceback is what a report needs
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (ask, annotate, serve, view, demo, train, evaluate, export, convert, doctor):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        out().print(f"vglamm {importlib.metadata.version('vglamm')}")
        raise typer.Exit


@app.callback()
def vglamm(
    debug: Annotated[bool, typer.Option("--debug", help="Show the log, and the traceback of an error. Works anywhere.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Ask questions about a video; get answers whose phrases are tied to masks through time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, by default of this process, and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    log_to_terminal(logging.DEBUG if debug else logging.WARNING)
    try:
        app([word for word in words if word != "--debug"])
    except (VglammError, OSError, ModuleNotFoundError, MemoryError, RuntimeError) as error:
        told = _told(error, words)
        if debug or told is None:
            raise
        show_error(told)
        sys.exit(2)


def _told(error: Exception, words: Sequence[str]) -> VglammError | OSError | None:
    """What to show for an error; None for a bug."""
    if isinstance(error, VglammError | OSError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return lacking(error, words)
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY):
        return EnvironmentProblem(
            f"no memory left ({(str(error).strip() or type(error).__name__).splitlines()[0]})",
            "room for the model and the frames at work",
            "take a smaller dtype (bfloat16), quantise the language model, another device, fewer frames, or fewer at a time",
        )
    return None
