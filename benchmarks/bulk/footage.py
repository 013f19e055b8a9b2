"""Clips of the generated world, numbered, the same every time."""

from __future__ import annotations

from pathlib import Path

from vglamm.data.world.generate import make_scene
from vglamm.media.mp4 import write_mp4

SEED = 900_100_000
"""Training draws its scenes upwards from 0 and never comes here."""


def write_clips(folder: Path, count: int, *, frames: int = 16, side: int = 128) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip-{n:04d}.mp4" for n in range(count)]
    for n, path in enumerate(paths):
        scene = make_scene(SEED + n, frames=frames, size=side)
        write_mp4(path, ((k / scene.fps, frame) for k, frame in enumerate(scene.frames)), last=1 / scene.fps)
    return paths
