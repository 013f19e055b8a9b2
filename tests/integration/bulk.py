"""What a bulk job of a test is about: a checkpoint that grounds what it says, numbered clips, and actors that tell or hang."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.pools import Actor
from tests import fakes
from vglamm import checkpoint
from vglamm.media.mp4 import write_mp4
from vglamm.records import PixelInput


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


class Telling(Actor):
    """Writes down which videos share a call."""

    def __call__(self, block: pa.Table) -> pa.Table:
        with told_batches(self.ledger.place.path, self.name).open("a") as file:
            file.write(json.dumps(block["position"].to_pylist()) + "\n")
        return super().__call__(block)


def told_batches(out: object, stage: str) -> Path:
    """Where :class:`Telling` writes, a JSON list of positions for each call."""
    return Path(f"{out}-{stage}.jsonl")


class Slow(Actor):
    """Takes a second for each chunk of grounding frames."""

    def _fed(self, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
        begun_mark(self.ledger.place.path).touch()
        for chunk in super()._fed(parcel, first, stop):
            threading.Event().wait(1.0)
            yield chunk


class Hung(Actor):
    """Gets no grounding frames, and dies when the mark of its beginning is taken away: nobody else would end it in this process."""

    def _fed(self, parcel: Parcel, first: int, stop: int) -> Iterator[PixelInput]:
        mark = begun_mark(self.ledger.place.path)
        mark.touch()
        while mark.exists():
            threading.Event().wait(0.1)
        os._exit(1)


def begun_mark(out: object) -> Path:
    """What :class:`Slow` and :class:`Hung` leave when they begin a video."""
    return Path(f"{out}-begun")
