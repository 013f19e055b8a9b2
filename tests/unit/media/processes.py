"""The processes in which videos of a process are examined and decoded."""

from __future__ import annotations

import contextlib
from pathlib import Path


def born(pid: int | str = "self") -> set[int]:
    """Children of the nurseries of a process, zombies too."""
    return {child for nursery in nurseries(pid) for child in _children(nursery)}


def nurseries(pid: int | str = "self") -> set[int]:
    return {child for child in _children(pid) if b"vglamm.media.nursery" in _command(child)}


def _command(pid: int) -> bytes:
    """Empty for a process that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _children(pid: int | str) -> set[int]:
    """Read again where a thread ended meanwhile: its children have gone to another."""
    while True:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        try:
            return {int(child) for task in tasks for child in (task / "children").read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            if not Path(f"/proc/{pid}").exists():
                raise
