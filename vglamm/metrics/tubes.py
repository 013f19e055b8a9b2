"""Spatio-temporal grounding (VidSTG, HC-STVG): boxes through time and the moment they belong to.

The measures are tIoU (moments), vIoU (sum of box IoU over the common frames, divided by the frames of either) and gt_vIoU (mean
box IoU over the frames of the true tube): Zhang et al., "Where Does It Exist", CVPR 2020. *published* repeats the scorer of
VideoGLaMM (after TubeDETR, Yang et al., CVPR 2022): a moment (s, e) is half-open for tIoU and vIoU but closed for gt_vIoU, "either"
is the hull of both moments with the gap between them, the box of a mask ends at its last pixel, and a video in which a frame has
no prediction is left out. *corrected* takes closed moments and sets of frames everywhere, boxes that enclose their last pixel,
and scores 0 where nothing was predicted. Boxes are (x0, y0, x1, y1) in pixels; tubes map a frame to its box, or to None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vglamm.errors import MaskError
from vglamm.metrics.masks import Mask

Box = tuple[float, float, float, float]
Moment = tuple[int, int]
Tube = Mapping[int, Box | None]

THRESHOLDS = (0.3, 0.5)


@dataclass(frozen=True)
class Overlap:
    """Two moments: tiou in 0..1, how many frames are in either, and the frames in both.

    A model may name a moment of a billion frames, so nothing here is as long as the predicted moment.
    """

    tiou: float
    union: int
    inter: range


def moments_published(truth: Moment, predicted: Moment, frames: int | None = None) -> Overlap:
    """tIoU of half-open moments; ``union`` counts their hull. frames: length of the video, beyond which no frame is counted."""
    (true_start, true_end), (start, end) = truth, predicted
    latest, earliest = max(true_start, start), min(true_end, end)
    inter = max(0, earliest - latest)
    spans = true_end - true_start + end - start
    stop = max(true_end, end) if frames is None else frames
    hull = min(max(true_end, end), stop) - max(0, min(true_start, start))
    return Overlap(inter / (spans - inter) if inter else 0.0, max(0, hull), range(max(0, latest), min(earliest, stop)))


def moments_corrected(truth: Moment, predicted: Moment | None) -> Overlap:
    """tIoU of closed moments as sets of frames; no predicted moment scores 0, as does one that ends before it starts."""
    length = truth[1] - truth[0] + 1
    if predicted is None or predicted[1] < predicted[0]:
        return Overlap(0.0, length, range(0))
    inter = range(max(truth[0], predicted[0]), min(truth[1], predicted[1]) + 1)
    union = length + predicted[1] - predicted[0] + 1 - len(inter)
    return Overlap(len(inter) / union, union, inter)


def box_iou(a: Box, b: Box) -> float:
    """IoU of two boxes, 0..1; 0 when either has no area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def box_of_mask_published(mask: Mask) -> Box | None:
    """Smallest box whose x1, y1 are the last pixel's own coordinates (torchvision and DETR); [H, W] -> box, None if empty."""
    ys, xs = np.nonzero(mask)
    return (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())) if len(xs) else None


def box_of_mask_corrected(mask: Mask) -> Box | None:
    """Smallest box that encloses all pixels: x1, y1 are one past the last pixel; [H, W] -> box, None if empty."""
    box = box_of_mask_published(mask)
    return None if box is None else (box[0], box[1], box[2] + 1, box[3] + 1)


@dataclass(frozen=True)
class TubeScore:
    """One video. tiou and viou are None when no moment was asked for. In published mode a dropped video has no TubeScore."""

    gt_viou: float
    tiou: float | None = None
    viou: float | None = None


def score_tube_published(
    truth: Tube, true_moment: Moment, predicted: Tube, moment: Moment | None = None, frames: int | None = None
) -> TubeScore | None:
    """Published scores of one video, or None where that scorer drops the video: a frame of the true moment has no prediction.

    predicted: a frame whose mask is empty maps to None (IoU 0); a frame that is not a key has no prediction. moment: the
    predicted one; the published scorer reuses that of the video before when an answer names none.
    """
    wanted = range(true_moment[0], true_moment[1] + 1)
    if any(frame not in predicted for frame in wanted):
        return None
    overlaps = {frame: _frame_iou(truth, predicted, frame) for frame in wanted}
    gt_viou = sum(overlaps.values()) / max(len(wanted), 1)
    if moment is None:
        return TubeScore(gt_viou)
    time = moments_published(true_moment, moment, frames)
    viou = sum(value for frame, value in overlaps.items() if frame in time.inter) / max(time.union, 1)
    return TubeScore(gt_viou, time.tiou, viou)


def score_tube_corrected(
    truth: Tube, true_moment: Moment, predicted: Tube, moment: Moment | None = None, *, asked_when: bool = False
) -> TubeScore:
    """Corrected scores of one video. asked_when: the question asked for the moment, so that none given scores 0."""
    if true_moment[1] < true_moment[0]:
        raise MaskError(f"true moment {true_moment}", "a start not after its end", "check the annotation")
    wanted = range(true_moment[0], true_moment[1] + 1)
    gt_viou = sum(_frame_iou(truth, predicted, frame) for frame in wanted) / len(wanted)
    if not asked_when:
        return TubeScore(gt_viou)
    time = moments_corrected(true_moment, moment)
    viou = sum(_frame_iou(truth, predicted, frame) for frame in time.inter) / time.union
    return TubeScore(gt_viou, time.tiou, viou)


def _frame_iou(truth: Tube, predicted: Tube, frame: int) -> float:
    true, said = truth.get(frame), predicted.get(frame)
    if true is None:
        raise MaskError(f"no true box on frame {frame}", "a box on every frame of the true moment", "check the annotation")
    return 0.0 if said is None else box_iou(true, said)
