"""What a row of a table says of its video: questions, and which frames are used. Whatever says it otherwise is a ConfigError that
names the row, before anything is begun."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vglamm.errors import ConfigError


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    number = float(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError
    return number


def _whole(value: Any) -> int:
    """Tables keep whole numbers with gaps between them as 5.0."""
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _truth(value: Any) -> bool:
    word = value if isinstance(value, str) else f"{_whole(value)}" if not isinstance(value, bool) else f"{value}"
    return _WORDS[word.strip().lower()]


_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "fps": (_number, "frames a second as a number"),
    "limit": (_whole, "a whole number"),
    "start": (_number, "seconds as a number"),
    "end": (_number, "seconds as a number"),
    "every_frame": (_truth, "true or false"),
    "source_fps": (_number, "frames a second as a number"),
}
SAMPLING = tuple(_READERS)
"""Columns by which a row says itself which frames are used; see :func:`vglamm.frames.choose`. source_fps: rate of a folder of
frames."""


def _gap(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and math.isnan(value))


def sampling(row: Mapping[str, Any], position: int) -> dict[str, Any]:
    """Those of :data:`SAMPLING` that a row fills. Numbers may be texts: one odd cell makes a CSV's whole column one of texts."""
    own = {}
    for key, (read, expected) in _READERS.items():
        if _gap(value := row.get(key)):
            continue
        try:
            own[key] = read(value)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"row {position} with {key} {value!r}", expected, "mend the row, or leave it empty") from error
    return own


def questions(row: Mapping[str, Any], default: Sequence[str], position: int) -> tuple[str, ...]:
    """Those of the row, a text, a list or a JSON list in either column, or else ``default``."""
    own = row.get("questions") or row.get("question")
    if isinstance(own, str) and row.get("questions") and own.lstrip().startswith("["):
        own = _from_json(own, position)
    asked = tuple(own) if isinstance(own, list) else (str(own),) if own else tuple(default)
    if not asked:
        raise ConfigError(f"row {position} without a question", "--question, or a column question or questions", "say what to ask")
    if wrong := [one for one in asked if not isinstance(one, str) or not one.strip()]:
        raise ConfigError(f"row {position} with {wrong[0]!r} as a question", "texts", "say what to ask")
    return asked


def _from_json(text: str, position: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"row {position} with questions {text[:60]!r} ({error})", "a JSON list of texts", "mend the row"
        ) from error
