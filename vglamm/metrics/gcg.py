"""Grounded conversation generation: do the masks of an answer cover the true objects, and do its phrases name them.

*published* repeats the VideoGLaMM scorer: objects are paired greedily by IoU and only pairs that overlap are averaged, so misses
and false masks are free; two empty masks have no IoU (NaN) and end the pairing; the search for matches stops at the first best
pair that fails a test. *corrected* solves the assignment (Kuhn 1955, by scipy) and divides by max(predicted, true); matches are the
largest set of pairs that pass both tests. Masks are [objects, F, H, W], IoU is over the whole tube.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import EnvironmentProblem, MaskError
from vglamm.metrics.masks import Mask, iou_matrix

Matrix = NDArray[np.floating[Any]]
Pairs = list[tuple[int, int]]

IOU_THRESHOLD = 0.5
TEXT_THRESHOLD = 0.5


def miou_published(truth: Mask, predicted: Mask) -> float:
    """Greedy mean IoU of one video over the pairs that overlap; 0 if none does, or if some pair is empty on both sides."""
    return miou_of_overlap_published(iou_matrix(truth, predicted, both_empty=np.nan))


def miou_of_overlap_published(overlap: Matrix) -> float:
    """:func:`miou_published` of IoU [true, predicted], NaN where both masks are empty."""
    # rows are predictions, as in the published scorer: of several equal maxima the first in this order is taken
    left = overlap.T
    paired: list[float] = []
    while left.size and left.max() > 0:  # False for NaN
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        paired.append(float(left[row, column]))
        left = np.delete(np.delete(left, row, axis=0), column, axis=1)
    return float(np.mean(paired)) if paired else 0.0


def miou_corrected(truth: Mask, predicted: Mask) -> float:
    """Mean IoU of one video: the best assignment, divided by max(#predicted, #true); 1 if there is nothing on both sides."""
    return miou_of_overlap_corrected(iou_matrix(truth, predicted))


def miou_of_overlap_corrected(overlap: Matrix) -> float:
    """:func:`miou_corrected` of IoU [true, predicted]."""
    most = max(overlap.shape)
    if most == 0:
        return 1.0
    return float(sum(overlap[pair] for pair in assign(overlap)) / most)


def matches_published(
    overlap: Matrix, similarity: Matrix, iou_least: float = IOU_THRESHOLD, text_least: float = TEXT_THRESHOLD
) -> Pairs:
    """Pairs (true, predicted) that agree in mask and text, taken greedily by IoU until a best pair fails either test.

    overlap, similarity: [true, predicted]. A NaN in overlap (both masks empty) is taken first and passes the mask test, as it
    does in the published scorer.
    """
    overlap, similarity = _same_shape(overlap, similarity)
    left, texts = overlap.copy(), similarity.copy()
    pairs: Pairs = []
    while len(pairs) < min(left.shape):
        best = int(left.argmax())
        row, column = divmod(best, left.shape[1])
        if left[row, column] < iou_least or texts[row, column] < text_least:
            break
        pairs.append((row, column))
        for matrix in (left, texts):
            matrix[row, :] = 0
            matrix[:, column] = 0
    return pairs


def matches_corrected(
    overlap: Matrix, similarity: Matrix, iou_least: float = IOU_THRESHOLD, text_least: float = TEXT_THRESHOLD
) -> Pairs:
    """The largest one-to-one set of pairs (true, predicted) that pass both tests; of equally large sets the one with most IoU."""
    overlap, similarity = _same_shape(overlap, similarity)
    passes = (overlap >= iou_least) & (similarity >= text_least)
    # a whole pair must outweigh any gain in IoU, which is less than the number of pairs
    worth = np.where(passes, min(overlap.shape, default=0) + 1.0 + overlap, 0.0)
    return [pair for pair in assign(worth) if passes[pair]]


def _same_shape(overlap: Matrix, similarity: Matrix) -> tuple[Matrix, Matrix]:
    if overlap.shape != similarity.shape or overlap.ndim != 2:
        raise MaskError(
            f"IoU {list(overlap.shape)} and text similarity {list(similarity.shape)}",
            "both [true, predicted]",
            "give every mask its phrase",
        )
    return overlap, similarity


def assign(worth: Matrix) -> Pairs:
    """The one-to-one assignment of rows to columns that is worth most."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise EnvironmentProblem(
            "no scipy", "scipy for scores in corrected mode", "install the extra: pip install 'vglamm[eval]'"
        ) from error
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]
