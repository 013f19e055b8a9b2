"""How small masks are as they travel and are stored, against the same masks as one byte for each pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import vglamm
from benchmarks.bulk.footage import SEED
from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from vglamm.data.world.generate import make_scene
from vglamm.errors import CheckpointError
from vglamm.media import rle
from vglamm.media.mp4 import write_mp4
from vglamm.media.rle import Rle

GOAL = 0.5
SIDE = 480
"""Pixels of a frame's side: masks are stored in those of the video."""


def percent(masks: Iterable[Rle | None], pixels: int) -> list[float]:
    """For each mask that there is, its bytes in % of its pixels."""
    return [100 * len(mask["counts"]) / pixels for mask in masks if mask is not None]


def run(*, rounds: int, model: str = "tiny", videos: int = 12, frames: int = 16, side: int = SIDE) -> Section:
    """rounds: not used, since the same masks have the same bytes."""
    truth: list[float] = []
    answered: list[float] = []
    try:
        walk, left_out = vglamm.load(model), ""
    except CheckpointError:
        walk, left_out = None, " **Not measured here: masks of the shipped model, since its weights are not there.**"
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as folder:
        for n in range(videos):
            scene = make_scene(SEED + n, frames=frames, size=side)
            truth += percent((mask for one in scene.objects for mask in rle.encode(scene.mask(one.id))), side * side)
            if walk is None:
                continue
            clip = Path(folder) / f"{n}.mp4"
            write_mp4(clip, ((k / scene.fps, frame) for k, frame in enumerate(scene.frames)), last=1 / scene.fps)
            answer = walk.ask(clip, "Describe the video.", every_frame=True)
            answered += percent((mask for track in answer.tracks for mask in track.rle), side * side)
    found = {"true masks of the objects": truth} | ({"masks of the model's answers": answered} if answered else {})
    rows = tuple(Row(f"{what}: RLE / dense", mean(series), " %", at_most=GOAL) for what, series in found.items())
    details = tuple((f"{what}, of {len(series)} one by one", Spread.of(series).text(" %")) for what, series in found.items())
    how = (
        f"{videos} clips of the generated world, {frames} frames of {side} px. Dense: a byte for each pixel of each mask. RLE: "
        f"COCO's compressed counts, as they stand in the rows.{left_out}"
    )
    return Section("Masks as RLE", how, rows, details)


def mean(series: list[float]) -> Spread:
    """Bytes of all masks together: all have equally many pixels."""
    average = sum(series) / len(series)
    return Spread(average, average, average)
