import numpy as np
import pytest

from vglamm.errors import MaskError
from vglamm.metrics.tubes import (
    TubeScore,
    box_iou,
    box_of_mask_corrected,
    box_of_mask_published,
    moments_corrected,
    moments_published,
    score_tube_corrected,
    score_tube_published,
)

BOX, HALF, AWAY = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0), (20.0, 20.0, 30.0, 30.0)


def test_the_published_union_is_the_hull_and_ends_are_open():
    time = moments_published((2, 6), (10, 12))
    assert (time.tiou, time.union, len(time.inter)) == (0, 10, 0)
    time = moments_published((2, 8), (4, 10))
    assert (time.tiou, time.union, list(time.inter)) == (4 / 8, 8, [4, 5, 6, 7])
    assert moments_published((2, 8), (4, 10), frames=6).union == 4
    assert list(moments_published((2, 8), (4, 10), frames=6).inter) == [4, 5]


def test_the_corrected_union_is_one_and_ends_are_closed():
    assert moments_corrected((2, 6), (10, 12)).union == 5 + 3
    time = moments_corrected((2, 8), (4, 10))
    assert (time.tiou, time.union, list(time.inter)) == (5 / 9, 9, [4, 5, 6, 7, 8])
    assert moments_corrected((3, 3), (3, 3)).tiou == 1  # the published formula gives 0 for a single frame
    assert moments_published((3, 3), (3, 3)).tiou == 0


@pytest.mark.parametrize("said", [None, (7, 3)])
def test_no_moment_or_one_turned_round_scores_0(said):
    assert moments_corrected((2, 8), said) == moments_corrected((2, 8), None)
    assert (moments_corrected((2, 8), said).tiou, moments_corrected((2, 8), said).union) == (0, 7)


def test_a_moment_of_a_billion_billion_frames_costs_nothing():
    end = 10**20
    assert moments_corrected((2, 8), (0, end)).union == end + 1
    assert moments_published((2, 8), (0, end), frames=40).union == 40


def test_box_iou():
    assert box_iou(BOX, BOX) == 1
    assert box_iou(BOX, HALF) == 0.5
    assert box_iou(BOX, AWAY) == 0
    assert box_iou((3.0, 3.0, 3.0, 3.0), (3.0, 3.0, 3.0, 3.0)) == 0


def test_boxes_of_masks():
    mask = np.zeros((8, 9), bool)
    assert box_of_mask_published(mask) is box_of_mask_corrected(mask) is None
    mask[2:5, 3:7] = True
    assert box_of_mask_published(mask) == (3, 2, 6, 4)
    assert box_of_mask_corrected(mask) == (3, 2, 7, 5)


def test_gt_viou_is_the_mean_over_the_closed_true_moment():
    truth = dict.fromkeys(range(2, 6), BOX)
    predicted = {2: BOX, 3: HALF, 4: None, 5: AWAY}
    assert score_tube_published(truth, (2, 5), predicted) == TubeScore(1.5 / 4)
    assert score_tube_corrected(truth, (2, 5), predicted) == TubeScore(1.5 / 4)


def test_a_frame_without_prediction_drops_the_video_or_counts_0():
    truth = dict.fromkeys(range(2, 6), BOX)
    predicted = {2: BOX, 3: BOX}
    assert score_tube_published(truth, (2, 5), predicted) is None
    assert score_tube_corrected(truth, (2, 5), predicted).gt_viou == 0.5


def test_viou_of_both_modes():
    truth = dict.fromkeys(range(2, 6), BOX)
    predicted = dict.fromkeys(range(10), HALF)
    published = score_tube_published(truth, (2, 5), predicted, (3, 8), frames=10)
    assert published is not None
    assert published.viou == pytest.approx(2 * 0.5 / 6)  # frames 3, 4 of 2..7
    corrected = score_tube_corrected(truth, (2, 5), predicted, (3, 8), asked_when=True)
    assert corrected.viou == pytest.approx(3 * 0.5 / 7)  # frames 3, 4, 5 of 2..8
    assert score_tube_corrected(truth, (2, 5), predicted, None, asked_when=True) == TubeScore(0.5, 0.0, 0.0)


def test_a_hole_in_the_annotation_is_an_error():
    with pytest.raises(MaskError, match="frame 3"):
        score_tube_corrected({2: BOX}, (2, 3), {2: BOX, 3: BOX})
    with pytest.raises(MaskError, match="start"):
        score_tube_corrected({2: BOX}, (3, 2), {2: BOX})
