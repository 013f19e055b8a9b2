"""Scores of one question about the generated world, where every true mask, phrase and text is known.

A :class:`WorldResult` holds the masks of one evaluated question and is dropped after :func:`score_world`; a :class:`WorldScore`
holds only numbers, so that a long evaluation fits in memory and in a JSON line. :mod:`vglamm.metrics.world_report` sums them up.

Two baselines know nothing of the question and show what a number is worth: the union of everything in the scene, and the mask of an
object drawn at random from the scene (its expected value over all objects, so that no luck of a draw is in it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import MaskError
from vglamm.metrics.captions import exact_match
from vglamm.metrics.masks import iou, iou_matrix, j_and_f

Masks = NDArray[np.bool_]

RECALL_IOU = 0.5


@dataclass(frozen=True)
class WorldResult:
    """One evaluated question. F frames of H x W; S true objects that the question asks for, P predicted, O in the scene.

    kind, level: the question's family and difficulty. scene: name of the video; questions about one scene are drawn together
    for the intervals ("" stands for a scene of its own). truth_masks: bool[S, F, H, W]; predicted_masks: bool[P, F, H, W];
    truth_phrases, predicted_phrases: one for each mask (None: a mask without a phrase). visible_at_start: one for each true
    object. foreground: bool[F, H, W], everything but the ground. other_masks: bool[O, F, H, W], all objects of the scene, those
    asked for among them. absent: the question asks for something that is not there, so S = 0 (as for a question that wants words
    alone). said_absent: the answer said so; None means that the answer equals the true text. twin_mask: bool[F, H, W], the object
    that looks like the first true one and is told from it by motion alone. failed: the model gave no answer; it counts as wrong
    everywhere. Raises MaskError when sizes or counts do not fit.
    """

    kind: str
    level: int | str
    truth_masks: Masks
    predicted_masks: Masks
    truth_text: str
    predicted_text: str
    truth_phrases: tuple[str, ...]
    predicted_phrases: tuple[str | None, ...]
    visible_at_start: tuple[bool, ...]
    foreground: Masks
    other_masks: Masks
    absent: bool = False
    said_absent: bool | None = None
    twin_mask: Masks | None = None
    scene: str = ""
    failed: bool = False

    def __post_init__(self) -> None:
        size = self.foreground.shape
        stacks = {"truth_masks": self.truth_masks, "predicted_masks": self.predicted_masks, "other_masks": self.other_masks}
        for name, stack in stacks.items():
            if stack.ndim != 4 or stack.shape[1:] != size:
                raise MaskError(
                    f"{name} {list(stack.shape)}", f"[objects, {', '.join(map(str, size))}]", "use the size of the video"
                )
        if self.twin_mask is not None and (self.twin_mask.shape != size or len(self.truth_masks) == 0):
            raise MaskError(
                f"twin_mask {list(self.twin_mask.shape)}", f"{list(size)} beside a true mask", "use the size of the video"
            )
        counts = (len(self.truth_masks), len(self.truth_phrases), len(self.visible_at_start))
        if len(set(counts)) > 1 or (self.absent and counts[0]):
            raise MaskError(
                f"{counts} true masks, phrases, visible_at_start; absent={self.absent}",
                "equal counts, and 0 if absent",
                "give each true object all three",
            )
        if len(self.predicted_masks) != len(self.predicted_phrases):
            raise MaskError(
                f"{len(self.predicted_masks)} predicted masks and {len(self.predicted_phrases)} phrases",
                "as many",
                "use None for no phrase",
            )


@dataclass(frozen=True)
class WorldScore:
    """The numbers of one question, each 0..1 and None where the question does not ask for it.

    miou: IoU through time, mean over the true objects, the i-th predicted mask against the i-th true one. miou_start: the same for
    the objects visible on frame 0. ``*_everything`` and ``*_random``: the baselines. j, f, jf: DAVIS, mean over objects.
    phrase_recall: share of the true phrases for which some prediction has the same text and IoU >= .5. text_exact: the answer's
    text is right. absent_right: said absent and gave no mask. missed: gave no mask though something is there (it finds out a
    model that always says "absent"). twin_right: the first mask has more IoU with the right twin than with the other.
    extra_masks: predicted beyond the number of true objects.
    """

    kind: str
    level: int | str
    scene: str
    failed: bool
    text_exact: float
    miou: float | None
    miou_everything: float | None
    miou_random: float | None
    miou_start: float | None
    miou_start_everything: float | None
    miou_start_random: float | None
    j: float | None
    f: float | None
    jf: float | None
    phrase_recall: float | None
    absent_right: float | None
    missed: float | None
    twin_right: float | None
    extra_masks: int


def score_world(result: WorldResult) -> WorldScore:
    """Score one question; see :class:`WorldScore` for what each number means."""
    if result.failed:  # it has no masks and says nothing, whatever was left in the record
        empty = result.predicted_masks[:0]
        result = replace(result, predicted_masks=empty, predicted_phrases=(), predicted_text="", said_absent=False)
    truth, predicted, start = result.truth_masks, result.predicted_masks, result.visible_at_start
    pairs = [(true, predicted[i] if i < len(predicted) else None) for i, true in enumerate(truth)]
    tubes = [0.0 if said is None else iou(true, said) for true, said in pairs]
    everything = [iou(true, result.foreground) for true in truth]
    drawn = _random_object(result)
    davis = [(0.0, 0.0, 0.0) if said is None else j_and_f(true, said) for true, said in pairs]
    return WorldScore(
        kind=result.kind,
        level=result.level,
        scene=result.scene,
        failed=result.failed,
        text_exact=float(not result.failed and exact_match(result.truth_text, result.predicted_text)),
        miou=_mean(tubes),
        miou_everything=_mean(everything),
        miou_random=_mean(drawn),
        miou_start=_mean_where(tubes, start),
        miou_start_everything=_mean_where(everything, start),
        miou_start_random=_mean_where(drawn, start),
        j=_mean([j for j, _, _ in davis]),
        f=_mean([f for _, f, _ in davis]),
        jf=_mean([jf for _, _, jf in davis]),
        phrase_recall=_phrase_recall(result),
        absent_right=_absent_right(result) if result.absent else None,
        missed=None if len(truth) == 0 else float(not predicted.any()),
        twin_right=None if result.twin_mask is None else _twin_right(truth[0], result.twin_mask, predicted),
        extra_masks=max(0, len(predicted) - len(truth)),
    )


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _mean_where(values: list[float], keep: tuple[bool, ...]) -> float | None:
    return _mean([value for value, kept in zip(values, keep, strict=True) if kept])


def _random_object(result: WorldResult) -> list[float]:
    """For each true object the expected IoU with an object drawn evenly from the scene."""
    if len(result.truth_masks) == 0:
        return []
    if len(result.other_masks) == 0:
        raise MaskError("true objects in a scene without objects", "other_masks with all objects of the scene", "pass them all")
    return [float(row.mean()) for row in iou_matrix(result.truth_masks, result.other_masks)]


def _phrase_recall(result: WorldResult) -> float | None:
    predictions = list(zip(result.predicted_phrases, result.predicted_masks, strict=True))
    found = [
        any(text is not None and exact_match(phrase, text) and iou(true, mask) >= RECALL_IOU for text, mask in predictions)
        for phrase, true in zip(result.truth_phrases, result.truth_masks, strict=True)
    ]
    return _mean([float(one) for one in found])


def _absent_right(result: WorldResult) -> float:
    said = exact_match(result.truth_text, result.predicted_text) if result.said_absent is None else result.said_absent
    return float(said and not result.predicted_masks.any())


def _twin_right(truth: Masks, twin: Masks, predicted: Masks) -> float:
    return float(len(predicted) > 0 and iou(truth, predicted[0]) > iou(twin, predicted[0]))
