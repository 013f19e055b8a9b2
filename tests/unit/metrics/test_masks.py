import numpy as np
import pytest

from vglamm.errors import MaskError
from vglamm.metrics.masks import f_per_frame, iou, iou_matrix, j_and_f, j_per_frame


def square(top: int, left: int, side: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_iou_of_known_squares():
    assert iou(square(0, 0, 4), square(2, 2, 4)) == 4 / 28
    assert iou(square(0, 0, 4), square(10, 10, 4)) == 0


def test_iou_through_time_sums_before_it_divides():
    a = np.stack([square(0, 0, 4), square(0, 0, 2)])
    b = np.stack([square(0, 0, 4), square(10, 10, 2)])
    assert iou(a, b) == 16 / 24  # the mean of the frames would be 1/2


def test_values_other_than_0_are_inside():
    mask = square(1, 1, 5)
    assert iou(mask.astype(np.uint8) * 255, mask.astype(np.uint8)) == 1


def test_empty_masks():
    empty, some = np.zeros((1, 20, 30), bool), square(3, 3, 5)[None]
    assert iou(empty, empty) == 1
    assert iou(empty, some) == 0
    for measure in (j_per_frame, f_per_frame):
        assert measure(empty, empty).tolist() == [1.0]
        assert measure(empty, some).tolist() == [0.0]
        assert measure(some, empty).tolist() == [0.0]


def test_iou_matrix_has_a_row_for_each_of_the_first():
    rows, columns = np.stack([square(0, 0, 4), square(2, 2, 4)]), np.stack([square(2, 2, 4), square(0, 0, 4), square(9, 9, 2)])
    assert iou_matrix(rows, columns).tolist() == [[4 / 28, 1, 0], [1, 4 / 28, 0]]
    empty = np.zeros((1, 20, 30), bool)
    assert np.isnan(iou_matrix(empty, empty, both_empty=np.nan)).all()
    assert iou_matrix(rows, columns[:0]).shape == (2, 0)


def test_boundary_tolerance_grows_with_the_image():
    # 20 x 30: the diagonal is 36, a boundary may be off by one pixel; 600 x 900: 1082, by nine
    near, far = square(5, 5, 8)[None], square(5, 6, 8)[None]
    assert f_per_frame(near, far).tolist() == [1.0]
    assert f_per_frame(near, square(5, 7, 8)[None])[0] < 1
    big = (600, 900)
    assert f_per_frame(square(100, 100, 300, big)[None], square(100, 109, 300, big)[None]).tolist() == [1.0]
    assert f_per_frame(square(100, 100, 300, big)[None], square(100, 110, 300, big)[None])[0] < 1


def test_a_mask_of_the_whole_frame_has_no_boundary():
    full, part = np.ones((1, 20, 30), bool), square(4, 4, 6)[None]
    assert f_per_frame(full, full).tolist() == [1.0]
    assert f_per_frame(full, part).tolist() == [0.0]


def test_j_and_f_is_the_mean_of_both():
    truth, predicted = np.stack([square(0, 0, 8), square(5, 5, 8)]), np.stack([square(0, 0, 8), square(5, 9, 8)])
    j, f, both = j_and_f(truth, predicted)
    assert j == pytest.approx((1 + 32 / 96) / 2)
    assert both == pytest.approx((j + f) / 2)
    with pytest.raises(MaskError, match="at least one frame"):
        j_and_f(truth[:0], predicted[:0])


@pytest.mark.parametrize("measure", [iou, j_per_frame, f_per_frame, iou_matrix])
def test_other_sizes_are_refused(measure):
    with pytest.raises(MaskError, match="resize"):
        measure(np.zeros((2, 20, 30), bool), np.zeros((2, 20, 31), bool))


def test_a_single_frame_is_no_video():
    with pytest.raises(MaskError, match=r"\[F, H, W\]"):
        j_per_frame(square(0, 0, 4), square(0, 0, 4))
