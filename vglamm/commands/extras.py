"""A command whose package is not installed says which extra brings it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from vglamm.errors import EnvironmentProblem

EVERYTHING = ("all", "dev")


def lacking(error: ModuleNotFoundError, words: Sequence[str]) -> EnvironmentProblem | None:
    """What to install for a module that was not found, while the command line ``words`` ran; None if no extra brings it, so that
    its absence is a bug. Of several extras the one is named that is called like the command."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    module = (error.name or "").partition(".")[0]
    wanted = [Requirement(line) for line in importlib.metadata.requires("vglamm") or []]
    mine = [r for r in wanted if canonicalize_name(r.name) == canonicalize_name(module)]
    extras = [name for name in importlib.metadata.metadata("vglamm").get_all("Provides-Extra") or [] if name not in EVERYTHING]
    bring = [name for name in extras if any(r.marker is not None and r.marker.evaluate({"extra": name}) for r in mine)]
    if not bring:
        return None
    extra = next((word for word in words if word in bring), bring[0])
    return EnvironmentProblem(f"no package {module}", "it for this command", f"run `pip install 'vglamm[{extra}]'`")
