"""The tables of the three parts put together, and how a table is read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vglamm.config import ModelConfig
from vglamm.errors import CheckpointError
from vglamm.language import convert as language
from vglamm.pixel import convert as pixel
from vglamm.vision import convert as vision


def rules(config: ModelConfig) -> list[tuple[str, str | None]]:
    """Every rule of the released model: (regular expression over their names, our name or None to drop)."""
    return [*vision.rules(config.vision), *language.rules(), *pixel.rules()]


def translate(names: Iterable[str], table: list[tuple[str, str | None]]) -> dict[str, str | None]:
    """Their names -> ours (None: dropped on purpose). A name that no rule knows, or two that meet, raise CheckpointError."""
    compiled = [(re.compile(pattern), target) for pattern, target in table]
    found: dict[str, str | None] = {}
    unknown: list[str] = []
    for name in names:
        for pattern, target in compiled:
            if match := pattern.fullmatch(name):
                found[name] = None if target is None else match.expand(target)
                break
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} unknown tensors: {', '.join(sorted(unknown)[:20])}", "released names", "is this another model?"
        )
    ours = [name for name in found.values() if name is not None]
    if twice := sorted({name for name in ours if ours.count(name) > 1} if len(ours) != len(set(ours)) else ()):
        raise CheckpointError(
            f"several tensors for {', '.join(twice[:20])}", "one for each", "remove the duplicates from the source"
        )
    return found
