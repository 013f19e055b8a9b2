"""What a bulk job of a test is about: a checkpoint that grounds what it says, and numbered clips."""

from __future__ import annotations

from pathlib import Path

from tests import fakes
from vglamm import checkpoint
from vglamm.media.mp4 import write_mp4


def talking_checkpoint(folder: Path) -> Path:
    """Random weights, but a reply with two grounded phrases."""
    checkpoint.save(fakes.talker(), folder, tokenizer=fakes.tokenizer())
    return folder


def clips(folder: Path, count: int, frames: int = 12) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip-{n:03d}.mp4" for n in range(count)]
    for n, path in enumerate(paths):
        write_mp4(path, ((i / 6, frame) for i, frame in enumerate(fakes.video(frames, seed=n))), last=1 / 6)
    return paths
