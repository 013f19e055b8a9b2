import sys

import numpy as np
import pytest

from vglamm.errors import EnvironmentProblem, MaskError
from vglamm.metrics.gcg import matches_corrected, matches_published, miou_corrected, miou_published


def strips(*columns: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(columns), 2, 4, 20), bool)
    for mask, (start, end) in zip(masks, columns, strict=True):
        mask[:, :, start:end] = True
    return masks


def test_misses_and_false_masks_are_free_in_the_published_mode_only():
    truth, predicted = strips((0, 4), (5, 9), (10, 14)), strips((0, 4))
    assert miou_published(truth, predicted) == 1
    assert miou_corrected(truth, predicted) == pytest.approx(1 / 3)
    assert miou_published(predicted, truth) == 1
    assert miou_corrected(predicted, truth) == pytest.approx(1 / 3)


def test_greedy_takes_the_best_pair_where_the_assignment_takes_the_best_sum():
    truth, predicted = strips((0, 10), (0, 6)), strips((0, 8), (2, 10))
    # IoU: t0 .8 .8; t1 .75 .4: the greedy choice of (t0, p0) leaves (t1, p1)
    assert miou_published(truth, predicted) == pytest.approx((0.8 + 0.4) / 2)
    assert miou_corrected(truth, predicted) == pytest.approx((0.8 + 0.75) / 2)


def test_a_pair_that_is_empty_on_both_sides_ends_the_published_pairing():
    truth, predicted = strips((0, 4), (5, 5)), strips((0, 4), (7, 7))
    assert miou_published(truth, predicted) == 0
    assert miou_corrected(truth, predicted) == 1


def test_nothing_on_one_side_or_both():
    some, none = strips((0, 4)), strips((0, 4))[:0]
    assert miou_published(some, none) == miou_published(none, none) == miou_corrected(some, none) == miou_corrected(none, some) == 0
    assert miou_corrected(none, none) == 1
    assert matches_published(np.zeros((2, 0)), np.zeros((2, 0))) == matches_corrected(np.zeros((0, 3)), np.zeros((0, 3))) == []


def test_only_the_corrected_recall_keeps_looking_after_a_text_that_fails():
    overlap = np.array([[0.9, 0.0], [0.0, 0.7]])
    similarity = np.array([[0.2, 0.1], [0.1, 0.9]])
    assert matches_published(overlap, similarity) == []
    assert matches_corrected(overlap, similarity) == [(1, 1)]


def test_matches_come_in_the_order_of_overlap_in_the_published_mode():
    overlap = np.array([[0.6, 0.1], [0.2, 0.8]])
    assert matches_published(overlap, np.ones((2, 2))) == [(1, 1), (0, 0)]
    assert matches_corrected(overlap, np.ones((2, 2))) == [(0, 0), (1, 1)]


def test_the_corrected_matching_prefers_more_pairs_to_more_overlap():
    overlap = np.array([[0.99, 0.3], [0.3, 0.0]])
    assert matches_corrected(overlap, np.ones((2, 2)), iou_least=0.25) == [(0, 1), (1, 0)]
    assert matches_published(overlap, np.ones((2, 2)), iou_least=0.25) == [(0, 0)]


@pytest.mark.parametrize("match", [matches_published, matches_corrected])
def test_thresholds_are_inclusive_and_inputs_untouched(match):
    overlap, similarity = np.array([[0.5]]), np.array([[0.5]])
    assert match(overlap, similarity) == [(0, 0)]
    assert match(overlap - 1e-9, similarity) == match(overlap, similarity - 1e-9) == []
    assert (overlap, similarity) == (0.5, 0.5)
    with pytest.raises(MaskError, match="give every mask its phrase"):
        match(overlap, np.ones((1, 2)))


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert miou_published(strips((0, 4)), strips((0, 4))) == 1
    with pytest.raises(EnvironmentProblem, match=r"vglamm\[eval\]"):
        miou_corrected(strips((0, 4)), strips((0, 4)))
