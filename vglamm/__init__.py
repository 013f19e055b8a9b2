"""Pixel-grounded video understanding: ask a question about a video, get text whose phrases carry masks through time.

``vglamm.load("tiny").ask("clip.mp4", "What moves?")``. Importing the package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vglamm.answer import Answer
    from vglamm.walk import Session, Walk, load

__all__ = ["Answer", "Session", "Walk", "load"]

_HOME = {"Answer": "answer", "Session": "walk", "Walk": "walk", "load": "walk"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"vglamm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'vglamm' has no attribute {name!r}")
