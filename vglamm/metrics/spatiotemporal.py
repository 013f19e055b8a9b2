"""VidSTG and HC-STVG from answers: boxes of masks on the frames that were shown, and the moment that the answer names.

Both modes score the frames that were sampled (1 a second, at most 40, as published), counted from 0. *published* takes the box of
the last object, which overwrites the others, of a mask without its small parts, and reads the moment literally off the text, as
numbers of sampled frames. *corrected* takes the box of all objects together and the moment's own times in seconds. The published
scripts shrink the frames to 224 pixels first; here they keep their size in both modes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vglamm.errors import MaskError
from vglamm.metrics.answers import masks_on, outcome, without_blobs
from vglamm.metrics.score import FAILED, Measure, Part, Record, Resampling, Row, by_group, mean_row
from vglamm.metrics.tubes import (
    THRESHOLDS,
    Box,
    Moment,
    TubeScore,
    box_of_mask_corrected,
    box_of_mask_published,
    score_tube_corrected,
    score_tube_published,
)

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.answer import Answer
    from vglamm.data.corpora.case import Case

SPACE = (
    Measure("gt_viou", "gt_vIoU (the tables' mIoU)", percent=True),
    *(Measure(f"gt_viou@{least}", f"gt_vIoU@{least}", percent=True) for least in THRESHOLDS),
)
TIME = (
    Measure("tiou", "tIoU", percent=True),
    Measure("viou", "vIoU", percent=True),
    *(Measure(f"viou@{least}", f"vIoU@{least}", percent=True) for least in THRESHOLDS),
)
NO_FRAME, NO_PREDICTION, NO_MOMENT = "NoFrameInMoment", "NoPrediction", "NoMoment"
_LITERAL = re.compile(r"frames:\((\d+),(\d+)\)")


def score_located(case: Case, annotation: Annotation | None, *, asked_when: bool) -> Record:
    """One question. asked_when: the moment was asked for, so that an answer without one scores 0 in time."""
    answer, status, reason = outcome(case, annotation)
    told: dict[str, Any] = {"id": case.id, "video": case.video, "group": str(case.meta.get("kind", ""))}
    zero = {measure.key: 0.0 for measure in (*SPACE, *(TIME if asked_when else ()))}
    if answer is None:
        return Record(**told, status=status, reason=reason, left_out=reason, corrected=zero)
    moment, tube = case.truth.moment, case.truth.tube
    if moment is None or tube is None:
        raise MaskError(f"case {case.id!r} without boxes", "a set of boxes through time", "score it by its masks")
    # from here on frames are places in the sample
    inside = [i for i, frame in enumerate(answer.sampling.grounding_indices) if moment[0] <= frame <= moment[1]]
    if not inside:
        return Record(**told, status=FAILED, reason=NO_FRAME, left_out=NO_FRAME, corrected=zero)
    truth: dict[int, Box | None] = {i: tube[answer.sampling.grounding_indices[i]] for i in inside}
    span = (inside[0], inside[-1])
    corrected = score_tube_corrected(truth, span, _boxes(answer, published=False), _moment(answer), asked_when=asked_when)
    published, left_out = _published(answer, truth, span, asked_when)
    return Record(**told, published=published, left_out=left_out, corrected=_numbers(corrected))


def summarise_located(records: Sequence[Record], resampling: Resampling, *, asked_when: bool) -> Part:
    """Means for all questions and for each type of question."""

    def rows(mine: Sequence[Record]) -> tuple[Row, ...]:
        return tuple(mean_row(measure, mine, resampling) for measure in (*SPACE, *(TIME if asked_when else ())))

    notes = [
        "published: questions without a prediction are left out, as the published scorer drops them; the last object's box counts.",
        "corrected: the box of all objects; a failed question is 0. Both: frames at source size, not shrunk to 224 pixels.",
    ]
    if asked_when:
        notes.append(
            "published: an answer that names no moment is left out; the published scorer gives it the moment of the video before."
        )
    return Part(by_group(records, rows), tuple(notes))


score_in_space = partial(score_located, asked_when=False)
score_in_time = partial(score_located, asked_when=True)
summarise_in_space = partial(summarise_located, asked_when=False)
summarise_in_time = partial(summarise_located, asked_when=True)


def _published(
    answer: Answer, truth: dict[int, Box | None], span: Moment, asked_when: bool
) -> tuple[dict[str, float] | None, str | None]:
    """(numbers, None), or (None, why the published scorer has none)."""
    match = _LITERAL.search(answer.raw) if asked_when else None
    if asked_when and match is None:
        return None, NO_MOMENT
    said = (int(match[1]), int(match[2])) if match else None
    frames = len(answer.sampling.grounding_indices)
    score = score_tube_published(truth, span, _boxes(answer, published=True), said, frames)
    return (_numbers(score), None) if score else (None, NO_PREDICTION)


def _boxes(answer: Answer, *, published: bool) -> dict[int, Box | None]:
    """The box on every sampled frame, None where the mask is empty; nothing at all for an answer without a mask."""
    boxes: dict[int, Box | None] = {}
    if not answer.tracks:
        return boxes
    for i, frame in enumerate(answer.sampling.grounding_indices):
        masks = masks_on(answer, [frame], answer.sampling.size)[:, 0]
        if published:
            boxes[i] = box_of_mask_published(without_blobs(masks[-1]))
        else:
            boxes[i] = box_of_mask_corrected(np.logical_or.reduce(masks))
    return boxes


def _moment(answer: Answer) -> Moment | None:
    """The sampled frames that appear within the first moment of the answer, both ends included."""
    if not answer.moments:
        return None
    start, end = answer.moments[0]
    within = [i for i, time in enumerate(answer.sampling.grounding_times) if start <= time < end]
    return (within[0], within[-1]) if within else None


def _numbers(score: TubeScore) -> dict[str, float]:
    found = {"gt_viou": score.gt_viou, "tiou": score.tiou, "viou": score.viou}
    out = {name: value for name, value in found.items() if value is not None}
    shares = {f"{name}@{least}": float(out[name] > least) for name in ("gt_viou", "viou") if name in out for least in THRESHOLDS}
    return out | shares
