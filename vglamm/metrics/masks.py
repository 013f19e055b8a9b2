"""Overlap of masks: IoU, and the J and F measures of DAVIS.

J is the Jaccard index of a frame, F the F-measure of the boundaries with a tolerance (Perazzi et al., "A Benchmark Dataset and
Evaluation Methodology for Video Object Segmentation", CVPR 2016, section 4). The conventions are those of the official
``davis2017-evaluation`` package: two empty masks score 1, one empty mask scores 0. Masks are bool or uint8, where anything but
0 is inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import MaskError

Mask = NDArray[Any]
Bool = NDArray[np.bool_]

BOUNDARY_TOLERANCE = 0.008
"""How far apart two boundaries may lie and still agree, as a share of the image's diagonal (davis2017-evaluation)."""


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape, summed over all axes: 0..1; 1 if both are empty.

    Of [H, W] this is the IoU of a frame, of [F, H, W] that of a tube through time. Raises MaskError when the shapes differ.
    """
    a, b = _pair(a, b, None)
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def iou_matrix(rows: Mask, columns: Mask, both_empty: float = 1.0) -> NDArray[np.float64]:
    """IoU of every pair. rows: [N, ...], columns: [M, ...] -> float64[N, M]; ``both_empty`` is the value for two empty masks."""
    if rows.ndim < 2 or rows.shape[1:] != columns.shape[1:]:
        raise MaskError(
            f"masks {list(rows.shape)} and {list(columns.shape)}",
            "stacks of one size",
            "resize the predictions to the size of the truth",
        )
    rows, columns = rows.astype(bool), columns.astype(bool)
    out = np.empty((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            union = np.count_nonzero(row | column)
            out[i, j] = np.count_nonzero(row & column) / union if union else both_empty
    return out


def j_per_frame(truth: Mask, predicted: Mask) -> NDArray[np.float64]:
    """Jaccard index of each frame. truth, predicted: [F, H, W] -> float64[F], 0..1."""
    truth, predicted = _pair(truth, predicted, 3)
    inter = np.count_nonzero(truth & predicted, axis=(1, 2))
    union = np.count_nonzero(truth | predicted, axis=(1, 2))
    return np.where(union == 0, 1.0, inter / np.maximum(union, 1))


def f_per_frame(truth: Mask, predicted: Mask, tolerance: float = BOUNDARY_TOLERANCE) -> NDArray[np.float64]:
    """Boundary F-measure of each frame. truth, predicted: [F, H, W] -> float64[F], 0..1.

    A boundary pixel agrees when the other boundary passes within ``ceil(tolerance * diagonal)`` pixels of it.
    """
    truth, predicted = _pair(truth, predicted, 3)
    radius = int(np.ceil(tolerance * np.hypot(*truth.shape[1:])))
    truth_edge, predicted_edge = _boundary(truth), _boundary(predicted)
    precision = _share_near(predicted_edge, truth_edge, radius)
    recall = _share_near(truth_edge, predicted_edge, radius)
    total = precision + recall
    return np.where(total == 0, 0.0, 2 * precision * recall / np.where(total == 0, 1.0, total))


def j_and_f(truth: Mask, predicted: Mask) -> tuple[float, float, float]:
    """Mean J over frames, mean F over frames, and the mean of the two (DAVIS 2017). truth, predicted: [F, H, W], F > 0."""
    if len(truth) == 0:
        raise MaskError("masks without a frame", "at least one frame", "leave the object out, or count it as failed")
    j, f = float(j_per_frame(truth, predicted).mean()), float(f_per_frame(truth, predicted).mean())
    return j, f, (j + f) / 2


def _pair(a: Mask, b: Mask, ndim: int | None) -> tuple[Bool, Bool]:
    if a.shape != b.shape or (ndim is not None and a.ndim != ndim):
        axes = "[F, H, W]" if ndim == 3 else "one shape"
        raise MaskError(f"masks {list(a.shape)} and {list(b.shape)}", axes, "resize the prediction to the size of the truth")
    return a.astype(bool), b.astype(bool)


def _boundary(masks: Bool) -> Bool:
    """Pixels that differ from their right, lower or lower right neighbour (D. Martin's seg2bmap), shifted up and left."""
    edge = np.zeros_like(masks)
    here, right, below, across = masks[:, :-1, :-1], masks[:, :-1, 1:], masks[:, 1:, :-1], masks[:, 1:, 1:]
    edge[:, :-1, :-1] = (here ^ right) | (here ^ below) | (here ^ across)
    edge[:, -1, :-1] = masks[:, -1, :-1] ^ masks[:, -1, 1:]  # the last row has no lower neighbour, the last column no right one
    edge[:, :-1, -1] = masks[:, :-1, -1] ^ masks[:, 1:, -1]
    return edge


def _dilate(edges: Bool, radius: int) -> Bool:
    """Grow every set pixel to a disk. Boundaries are thin, so writing each pixel's disk beats filtering whole frames."""
    frames, height, width = edges.shape
    grown = np.zeros((frames, height + 2 * radius, width + 2 * radius), dtype=bool)
    reach = np.arange(-radius, radius + 1)
    dy, dx = (axis.ravel() for axis in np.meshgrid(reach, reach, indexing="ij"))
    inside = dy * dy + dx * dx <= radius * radius
    dy, dx = dy[inside] + radius, dx[inside] + radius
    frame, y, x = np.nonzero(edges)
    grown[frame[:, None], y[:, None] + dy, x[:, None] + dx] = True
    return grown[:, radius : radius + height, radius : radius + width]


def _share_near(edges: Bool, others: Bool, radius: int) -> NDArray[np.float64]:
    """Share of each frame's edge pixels that lie near the other edges; 1 where there is none to be wrong about."""
    near = np.count_nonzero(edges & _dilate(others, radius), axis=(1, 2))
    count = np.count_nonzero(edges, axis=(1, 2))
    return np.where(count == 0, 1.0, near / np.maximum(count, 1))
