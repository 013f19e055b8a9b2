"""What a run says of itself: ``summary.json`` beside its rows, any JSON object, as names and short texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

NAME = "summary.json"
LARGEST, MOST = 1 << 20, 60
"""Bytes that are read, and figures that are shown."""


def figures(system: Any, part: str) -> list[tuple[str, str]]:
    """(name, value) of the numbers and texts in the summary beside a part of the run, nested names joined; empty if there is none.
    system: a pyarrow file system. One that cannot be read says so in place of its figures."""
    folder = part.rpartition("/")[0]
    try:
        with system.open_input_stream(f"{folder}/{NAME}") as file:
            found = json.loads(file.read(LARGEST))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        return [(NAME, f"cannot be read ({type(error).__name__})")]
    return list(_flat("", found))[:MOST] if isinstance(found, dict) else [(NAME, "is not a JSON object")]


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _flat(f"{name}, {key}" if name else str(key), inner)
        case list():
            yield name, ", ".join(_said(item) for item in value)[:200]
        case None:
            return
        case _:
            yield name, _said(value)


def _said(value: Any) -> str:
    """A number with its thousands apart and no more digits than one reads; anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return str(value)[:200]
