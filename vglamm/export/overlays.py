"""Overlays to look at: for each answered row the grounding frames with masks and names in colour, H.264 in MP4, or PNG of an
image."""

from __future__ import annotations

from pathlib import Path

from vglamm.export.place import fresh, safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.export.sources import Sources


def write_overlays(run: Run, folder: Path, settings: Settings) -> None:
    """Write ``<row>.mp4`` (yuv420p, index in front, plays in browsers) or ``<row>.png``. Raises VideoNotFound for a row whose
    video is gone, VideoError for one that cannot be read."""
    sources = Sources(settings.videos)
    for row, answer in answered(run):
        suffix = ".png" if answer.is_image else ".mp4"
        answer.save_overlay(fresh(folder / (safe_name(row.id) + suffix)), sources.find(row))
