"""The page that is mailed, filled in by ``vglamm.show.page``, and the look and script of its player, which the viewer shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources


def text(name: str, package: str = __name__) -> str:
    """The text of a file beside this one, or in another package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def fill(template: str, filling: Mapping[str, str]) -> str:
    """``template`` with each ``{{name}}`` replaced. Values are HTML already; what they hold in double braces stays as it is."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filling[match[1]], template)
