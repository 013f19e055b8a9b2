"""The processes in which videos of a process are examined and decoded."""

from __future__ import annotations

from pathlib import Path


def born(pid: int | str = "self") -> set[int]:
    """Children of the nurseries of a process, zombies too."""
    return {child for nursery in nurseries(pid) for child in _children(nursery)}


def nurseries(pid: int | str = "self") -> set[int]:
    return {child for child in _children(pid) if b"vglamm.media.nursery" in Path(f"/proc/{child}/cmdline").read_bytes()}


def _children(pid: int | str) -> set[int]:
    return {int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()}
