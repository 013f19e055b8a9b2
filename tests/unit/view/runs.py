"""Runs of bulk annotation to look at: many small rows, and some about real clips of the generated world."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pyarrow import parquet

from tests.unit.media.shapes import answer_about
from vglamm import annotation
from vglamm.annotation import FAILED, OK, SKIPPED, Annotation
from vglamm.data.world import make_sample
from vglamm.media.mp4 import write_mp4

CONFIG = "1f0c2a9d"
SUMMARY = {
    "rows": 1240, "answered": 1180, "failed": 48, "skipped": 12, "videos_per_second": 3.4271, "seconds": 361.82,
    "stage_seconds": {"vision": 120.5, "language": 201.25}, "resumed": True, "model": "tiny-0123abcd",
}  # fmt: skip


def answered(position: int, text: str = "", **changes: object) -> Annotation:
    """A row with one tiny mask, about no video that exists."""
    masks = np.zeros((1, 2, 6, 8), np.bool_)
    masks[:, :, 1:4, 2:6] = True
    raw = text or f"<p> a red ball </p> [SEG] number {position} rolls ."
    answer = answer_about(masks, (0.0, 0.5), raw, f"gone/v{position}.mp4", f"What happens in {position}?")
    row = Annotation(f"v{position:05d}", position, f"v{position:05d}", answer.source, answer.question, OK, CONFIG, answer=answer)
    return replace(row, **changes)  # type: ignore[arg-type]


def unanswered(position: int, status: str = FAILED, kind: str = "VideoUnreadable", error: str = "") -> Annotation:
    """A row without an answer."""
    said = error or f"got an empty file, 'v{position}.mp4'; expected a video or image; download or copy the file again"
    name = f"v{position:05d}"
    return Annotation(name, position, name, f"gone/v{position}.mp4", "What happens?", status, CONFIG, error_type=kind, error=said)


def mixed(count: int) -> list[Annotation]:
    """Rows of which every tenth failed and every fiftieth was skipped."""
    rows = []
    for position in range(count):
        if position % 50 == 7:
            rows.append(unanswered(position, SKIPPED, "VideoTooLarge", f"got {position} seconds; expected at most 60; cut it"))
        else:
            rows.append(unanswered(position) if position % 10 == 3 else answered(position))
    return rows


def write_run(folder: Path, rows: Sequence[Annotation], parts: int = 1, group: int = 64, summary: bool = False) -> Path:
    """The folder that `vglamm annotate` would have left: parts of row groups of at most ``group`` rows."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // parts)
    for number in range(parts):
        part = annotation.table(rows[number * size : (number + 1) * size])
        parquet.write_table(part, folder / f"part-{number:05d}.parquet", row_group_size=group)
    if summary:
        (folder / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    return folder


def filmed(folder: Path, seeds: Iterable[int], size: int = 256, first: int = 0) -> list[Annotation]:
    """Rows about clips of the generated world, written into ``folder``, one row for each question, answered as the truth is."""
    rows: list[Annotation] = []
    for seed in seeds:
        sample = make_sample(seed, size=size, image=False)
        path = folder / "clips" / f"{sample.id}.mp4"
        write_mp4(path, ((i / sample.fps, frame) for i, frame in enumerate(sample.frames)), last=1 / sample.fps, crf=16)
        times, at = tuple(i / sample.fps for i in range(len(sample.frames))), 0
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for turn_number, turn in enumerate(sample.turns, 1):
            masks = sample.masks[at : at + len(turn.targets)]
            at += len(turn.targets)
            answer = answer_about(masks, times, turn.answer, str(path), turn.question)
            answer = replace(answer, sampling=replace(answer.sampling, size=sample.size, source_fps=sample.fps))
            name = sample.id if turn_number == 1 else f"{sample.id}#{turn_number}"
            rows.append(
                Annotation(name, first + len(rows), sample.id, str(path), turn.question, OK, CONFIG, sha256=digest, answer=answer)
            )
    return rows
