"""Referring segmentation: J, F and J&F of an expression in a video, cIoU and gIoU of one in an image.

*published* takes the first object of the answer, as the published scripts save no other; a case without one, failed or not, is a
video of empty masks to the server. *corrected* takes the union of all objects; a case that failed, or that shows nothing where
there is something, scores 0. Both look at every annotated frame and compare with the union of the true objects.

cIoU is the sum of intersections over the sum of unions of a whole set, gIoU the mean IoU of its images (Liu et al., "GRES", CVPR
2023; Lai et al., "LISA", CVPR 2024); two empty masks have IoU 1. The published repository has no evaluation of images that runs,
so its column follows LISA's protocol, with cases that failed left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vglamm.errors import CorpusError, MaskError
from vglamm.metrics.answers import Bool, chunks, masks_on, need_masks, outcome, says_something, scored_frames
from vglamm.metrics.masks import f_per_frame, j_per_frame
from vglamm.metrics.score import FAILED, Measure, Part, Record, Resampling, Row, by_group, mean_row, ratio

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.answer import Answer
    from vglamm.data.corpora.case import Case

VIDEO_MEASURES = (Measure("j", "J", percent=True), Measure("f", "F", percent=True), Measure("jf", "J&F", percent=True))
CIOU, GIOU = Measure("ciou", "cIoU", percent=True), Measure("giou", "gIoU", percent=True)
LATER_TEXT = "LaterText"
"""Why the published scores leave out a case: they take the first text of an image alone."""
ZERO = {"j": 0.0, "f": 0.0, "jf": 0.0}


def score_expression(case: Case, annotation: Annotation | None) -> Record:
    """J, F and J&F of one expression. ConfigError for a split without masks."""
    need_masks(case)
    answer, status, reason = outcome(case, annotation)
    told: dict[str, Any] = {"id": case.id, "video": case.video}
    if case.problem is not None:
        return Record(**told, status=status, reason=reason, left_out=reason, corrected=ZERO)
    try:
        published, corrected = _davis(case, answer)
    except (CorpusError, MaskError) as error:  # the truth itself cannot be read
        reason = type(error).__name__
        return Record(**told, status=FAILED, reason=reason, left_out=reason, corrected=ZERO)
    return Record(**told, status=status, reason=reason, published=published, corrected=corrected if answer else ZERO)


def summarise_expressions(records: Sequence[Record], resampling: Resampling) -> Part:
    """J, F and J&F, mean over expressions."""

    def rows(mine: Sequence[Record]) -> tuple[Row, ...]:
        return tuple(mean_row(measure, mine, resampling) for measure in VIDEO_MEASURES)

    notes = (
        "published: the first object of an answer; an expression without an answer counts as empty masks on every frame.",
        "corrected: the union of all objects of an answer; a failed case, and one without a mask where there is something, is 0.",
    )
    return Part(by_group(records, rows), notes)


def score_image(case: Case, annotation: Annotation | None) -> Record:
    """IoU of one expression in one image, with its intersection and union in pixels. ConfigError for a split without masks."""
    need_masks(case)
    answer, status, reason = outcome(case, annotation)
    told: dict[str, Any] = {"id": case.id, "video": case.video}
    unread: dict[str, Any] = {"status": FAILED, "left_out": reason, "corrected": {"giou": 0.0}}
    if not case.truth.has_masks:
        return Record(**told, **unread, reason=reason)
    try:  # of a picture that is missing the true mask may be there, and belongs to the union of the set
        first, union = _image(case, answer)
    except (CorpusError, MaskError) as error:
        return Record(**told, **{**unread, "left_out": type(error).__name__}, reason=type(error).__name__)
    detail = {"first": first, "union": union}
    if answer is None:  # nothing against nothing would be 1, but there was no answer
        return Record(**told, **{**unread, "status": status}, reason=reason, detail=detail)
    later = LATER_TEXT if case.meta.get("text", 0) else None
    published = None if later else {"giou": _share(first)}
    return Record(**told, published=published, left_out=later, corrected={"giou": _share(union)}, detail=detail)


def summarise_images(records: Sequence[Record], resampling: Resampling) -> Part:
    """cIoU and gIoU."""

    def rows(mine: Sequence[Record]) -> tuple[Row, ...]:
        theirs = [_pixels(record, "first") for record in mine if record.published is not None]
        ours = [_pixels(record, "union") for record in mine if record.detail]
        both = (ratio(CIOU, pixels, resampling, none="no pixel in any union") for pixels in (theirs, ours))
        return Row(CIOU, *both), mean_row(GIOU, mine, resampling)

    notes = ["published: LISA's protocol over the images that were answered; the first object, the first text of an image."]
    if unread := sum(not record.detail for record in records):
        notes.append(f"corrected cIoU: {unread} cases whose true mask cannot be read add no union; their gIoU is 0.")
    return Part(by_group(records, rows), tuple(notes))


def union_of(masks: Bool) -> Bool:
    """bool[S, F, H, W] -> bool[F, H, W]; empty masks for S = 0."""
    return np.asarray(np.any(masks, axis=0), dtype=bool)


def _davis(case: Case, answer: Answer | None) -> tuple[dict[str, float], dict[str, float]]:
    """Both modes' J, F, J&F, mean over the scored frames."""
    frames = scored_frames(case)
    if not frames:
        raise MaskError("a case without a frame", "at least one annotated frame", "check the set's annotation")
    sums = np.zeros(4)
    something = False
    for some in chunks(frames):
        truth, ignored = _truth(case, some), case.truth.ignored(some)
        something = something or bool(truth.any())
        first, union = _said(answer, some, truth.shape[-2:])
        if ignored is not None:
            truth, first, union = truth & ~ignored, first & ~ignored, union & ~ignored
        mine = [j_per_frame(truth, union).sum(), f_per_frame(truth, union).sum()]
        # most answers have one object: its boundary need not be found twice
        theirs = mine if np.array_equal(first, union) else [j_per_frame(truth, first).sum(), f_per_frame(truth, first).sum()]
        sums += [*theirs, *mine]
    means = [float(value) / len(frames) for value in sums]
    published, corrected = _named(means[:2]), _named(means[2:])
    if something and (answer is None or not says_something(answer)):
        corrected = ZERO
    return published, corrected


def _image(case: Case, answer: Answer | None) -> tuple[list[int], list[int]]:
    """[pixels of the intersection, of the union] of the first object, and of the union of all."""
    truth, ignored = _truth(case, [0]), case.truth.ignored([0])
    counted = np.ones_like(truth) if ignored is None else ~ignored
    first, union = (said & counted for said in _said(answer, [0], truth.shape[-2:]))
    truth &= counted
    return _counts(truth, first), _counts(truth, union)


def _named(values: Sequence[float]) -> dict[str, float]:
    j, f = values
    return {"j": j, "f": f, "jf": (j + f) / 2}


def _truth(case: Case, frames: Sequence[int]) -> Bool:
    return union_of(case.truth.masks(frames))


def _said(answer: Answer | None, frames: Sequence[int], size: Sequence[int]) -> tuple[Bool, Bool]:
    """(the first object, all objects), each bool[F, H, W]."""
    masks = masks_on(answer, frames, (size[0], size[1]))
    return union_of(masks[:1]), union_of(masks)


def _counts(truth: Bool, said: Bool) -> list[int]:
    return [int(np.count_nonzero(truth & said)), int(np.count_nonzero(truth | said))]


def _share(counts: Sequence[int]) -> float:
    return counts[0] / counts[1] if counts[1] else 1.0


def _pixels(record: Record, which: str) -> tuple[float, float, str]:
    inter, union = record.detail[which]
    return float(inter), float(union), record.video
