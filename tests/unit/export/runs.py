"""Runs of `vglamm annotate` as they lie on disk, with masks that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from tests.unit.media.shapes import track_of
from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.records import Phrase, Sampling

SIZE = (12, 16)
INDICES = (0, 3, 6, 9)
SUBMITTED = (pa.field("exp_id", pa.string()), pa.field("frames", pa.list_(pa.string())))


def moving(objects: int = 2, frames: int = 4, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """bool[S, K, H, W]: blocks with a notch that move to the right and overlap; the first is not seen on the second frame."""
    masks = np.zeros((objects, frames, *size), np.bool_)
    for number in range(objects):
        for k in range(frames):
            masks[number, k, 2 + number : 7 + number, k + 3 * number : k + 3 * number + 5] = True
            masks[number, k, 3 + number, k + 3 * number + 1] = False  # not its own box, and with a hole
    if frames > 1 and objects:
        masks[0, 1] = False
    return masks


def an_answer(
    masks: NDArray[np.bool_] | None = None, indices: Sequence[int] = INDICES, frames: int = 12, scores: Sequence[float] = (0.9, 0.8)
) -> Answer:
    """An answer whose phrases are ``thing 1``, ``thing 2``, ..."""
    masks = moving(frames=len(indices)) if masks is None else masks
    text, phrases = "See", list[Phrase]()
    for number in range(len(masks)):
        name = f"thing {number + 1}"
        phrases.append(Phrase(name, len(text) + 1, len(text) + 1 + len(name), number))
        text += f" {name}"
    tracks = tuple(replace(track_of(m), score=score) for m, score in zip(masks, scores[: len(masks)], strict=True))
    times = tuple(index / 6 for index in indices)
    sampling = Sampling((0,), (0.0,), tuple(indices), times, frames, 6.0 if frames > 1 else 0.0, masks.shape[2:])
    return Answer("What?", text, text, tuple(phrases), tracks, (), sampling, "a.mp4", "m", timings={"pixel": 0.5})


def ok(identity: str = "a", answer: Answer | None = None, **changes: Any) -> Annotation:
    """An answered row of the video that its id names."""
    video = identity.split("#")[0]
    found = Annotation(identity, 0, video, f"{video}.mp4", "What?", "ok", "c", answer=answer or an_answer())
    found = replace(found, **changes)
    assert found.answer is not None
    return replace(found, answer=replace(found.answer, source=found.uri, question=found.question))


def failed(identity: str = "bad", status: str = "failed", error_type: str = "VideoUnreadable", **changes: Any) -> Annotation:
    """A row without an answer."""
    row = Annotation(identity, 0, identity, f"{identity}.mp4", "What?", status, "c", error_type=error_type, error="got nothing")
    return replace(row, **changes)


def asked(row: Annotation, exp_id: str = "0", count: int = 12) -> Annotation:
    """The row with the columns of a submission."""
    return replace(row, extra={"exp_id": exp_id, "frames": [f"f{number:03d}" for number in range(count)]})


def write_run(folder: Path, rows: Sequence[Annotation], extra: Sequence[pa.Field] = ()) -> Path:
    """Write rows as a run of two parts."""
    folder.mkdir(parents=True)
    rows = [replace(row, position=position) for position, row in enumerate(rows)]
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        parquet.write_table(annotation.table(part, extra), folder / f"part-{number:05d}.parquet")
    return folder
