"""What holds for any masks, boxes and moments."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_dilation

from vglamm.metrics.bootstrap import bootstrap_mean
from vglamm.metrics.gcg import matches_corrected, matches_published, miou_corrected, miou_published
from vglamm.metrics.masks import f_per_frame, iou, iou_matrix, j_per_frame
from vglamm.metrics.tubes import box_iou, moments_corrected, moments_published, score_tube_corrected

patient = settings(deadline=None)  # the machine may be busy
videos = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)
pairs = videos.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
unit = st.floats(0, 1)
moments = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda ends: (min(ends), max(ends)))
corners = st.tuples(*[st.integers(0, 30).map(float)] * 4)
boxes = corners.map(lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])))


@st.composite
def scenes(draw, smallest: int = 0):
    size = draw(array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4))
    counts = draw(st.integers(smallest, 4)), draw(st.integers(smallest, 4))
    return tuple(draw(arrays(bool, (count, *size))) for count in counts)


@st.composite
def matrices(draw):
    shape = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    return draw(arrays(float, shape, elements=unit)), draw(arrays(float, shape, elements=unit))


def oracle_f(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F of one frame, spelt out pixel by pixel but for the dilation."""
    radius = math.ceil(0.008 * math.hypot(*truth.shape))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]

    def boundary(mask: np.ndarray) -> np.ndarray:
        height, width = mask.shape
        near = [(0, 1), (1, 0), (1, 1)]
        edge = np.zeros_like(mask)
        for row in range(height):
            for left in range(width):
                beside = [(row + dy, left + dx) for dy, dx in near if row + dy < height and left + dx < width]
                edge[row, left] = any(mask[place] != mask[row, left] for place in beside)
        return edge

    a, b = boundary(truth), boundary(predicted)
    wide_a, wide_b = (binary_dilation(edge, y * y + x * x <= radius * radius) for edge in (a, b))
    precision = (b & wide_a).sum() / b.sum() if b.any() else 1.0
    recall = (a & wide_b).sum() / a.sum() if a.any() else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@patient
@given(pairs)
def test_iou_and_j_are_symmetric_and_bounded(masks):
    a, b = masks
    assert 0 <= iou(a, b) == iou(b, a) <= 1
    assert (iou(a, b) == 1) == np.array_equal(a, b)
    assert j_per_frame(a, b).tolist() == j_per_frame(b, a).tolist() == [iou(x, y) for x, y in zip(a, b, strict=True)]


@patient
@given(pairs)
def test_f_is_symmetric_bounded_and_1_for_equal_masks(masks):
    a, b = masks
    forth, back = f_per_frame(a, b), f_per_frame(b, a)
    assert forth == pytest.approx(back)
    assert ((forth >= 0) & (forth <= 1)).all()
    assert (f_per_frame(a, a) == 1).all()


@settings(max_examples=40, deadline=None)
@given(pairs, st.sampled_from([1, 7, 30]))
def test_f_equals_the_slow_definition(masks, scale):
    a, b = (
        np.kron(mask[:1], np.ones((1, scale, scale), bool))[:, :150, :150] for mask in masks
    )  # wider than one pixel of tolerance
    assert f_per_frame(a, b).tolist() == pytest.approx([oracle_f(x, y) for x, y in zip(a, b, strict=True)])


@patient
@given(scenes())
def test_the_sum_of_greedy_pairs_never_beats_the_assignment(scene):
    truth, predicted = scene
    overlap = iou_matrix(truth, predicted, both_empty=np.nan)
    paired = len(
        matches_published(overlap, np.ones_like(overlap), iou_least=1e-12)
    )  # a mean over few pairs may be higher, a sum not
    assert miou_published(truth, predicted) * paired <= miou_corrected(truth, predicted) * max(len(truth), len(predicted)) + 1e-9


@patient
@given(scenes())
def test_miou_is_bounded_and_does_not_depend_on_the_order(scene):
    truth, predicted = scene
    assert 0 <= miou_published(truth, predicted) <= 1
    corrected = miou_corrected(truth, predicted)
    assert 0 <= corrected <= 1
    assert miou_corrected(truth[::-1], predicted[::-1]) == pytest.approx(corrected)
    assert miou_corrected(predicted, truth) == pytest.approx(corrected)


@patient
@given(scenes(smallest=1))
def test_one_mask_more_never_helps_an_answer_that_has_them_all(scene):
    truth, spare = scene
    assert miou_corrected(truth, truth) == 1
    assert miou_corrected(truth, np.concatenate([truth, spare])) < 1


@patient
@given(matrices())
def test_the_corrected_matching_finds_all_that_the_published_one_finds(both):
    overlap, similarity = both
    published, corrected = matches_published(overlap, similarity), matches_corrected(overlap, similarity)
    assert len(published) <= len(corrected)
    for found in (published, corrected):
        assert all(overlap[pair] >= 0.5 and similarity[pair] >= 0.5 for pair in found)
        assert len({true for true, _ in found}) == len({said for _, said in found}) == len(found)


@patient
@given(scenes())
def test_a_perfect_answer_is_perfect_in_the_corrected_mode(scene):
    truth, _ = scene
    assert len(matches_corrected(iou_matrix(truth, truth), np.ones((len(truth), len(truth))))) == len(truth)


@patient
@given(moments, moments)
def test_moments(a, b):
    forth, back = moments_corrected(a, b), moments_corrected(b, a)
    assert forth == back
    true, said = set(range(a[0], a[1] + 1)), set(range(b[0], b[1] + 1))
    assert (forth.union, set(forth.inter)) == (len(true | said), true & said)
    assert forth.tiou == pytest.approx(len(true & said) / len(true | said))
    published = moments_published(a, b)
    assert 0 <= published.tiou <= 1
    assert published.tiou == moments_published(b, a).tiou
    assert published.union >= len(published.inter)


@patient
@given(boxes, boxes)
def test_box_iou_counts_pixels(a, b):
    def filled(box) -> np.ndarray:
        mask = np.zeros((30, 30), bool)
        mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
        return mask

    x, y = filled(a), filled(b)
    assert box_iou(a, b) == box_iou(b, a)
    assert box_iou(a, b) == pytest.approx((x & y).sum() / max((x | y).sum(), 1))


@patient
@given(moments, moments, boxes)
def test_viou_is_at_most_tiou(truth, said, box):
    tube = dict.fromkeys(range(41), box)
    score = score_tube_corrected(tube, truth, tube, said, asked_when=True)
    assert score.viou is not None
    assert score.tiou is not None
    assert score.viou <= score.tiou + 1e-12
    assert 0 <= score.gt_viou <= 1


@settings(max_examples=30, deadline=None)
@given(st.lists(unit, min_size=1, max_size=20), st.integers(0, 99))
def test_intervals_lie_within_the_values(values, seed):
    interval = bootstrap_mean(values, resamples=100, seed=seed)
    assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12
    assert interval.mean == pytest.approx(np.mean(values))
