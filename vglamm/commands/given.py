"""Options that were given where nothing heeds them are refused: whoever gave them believes that they were."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from vglamm.errors import ConfigError


def refuse(context: typer.Context, names: Iterable[str], beside: str, expected: str) -> None:
    """ConfigError for the first of the options (named as parameters) that stands on the command line.

    beside: what it does not go with, such as "--server". expected: where it belongs.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} {beside}", expected, "leave it out")
