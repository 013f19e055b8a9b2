"""Encode and decode undo each other for every mask, and the box and area are those of the mask."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vglamm.media import rle

SHAPE = st.tuples(st.integers(1, 4), st.integers(1, 17), st.integers(1, 17))
MASKS = SHAPE.flatmap(lambda shape: hnp.arrays(np.bool_, shape))


@given(MASKS)
def test_round_trip(masks: np.ndarray) -> None:
    encoded = rle.encode(masks)
    assert np.array_equal(rle.decode(encoded, masks.shape[1:]), masks)
    assert rle.boxes(encoded) == rle.boxes_of_masks(masks)
    assert rle.areas(encoded) == masks.sum(axis=(1, 2)).tolist()
    assert (rle.iou(encoded, encoded) == 1).all()


@given(SHAPE.flatmap(lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))))
def test_iou_is_that_of_the_pixels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pair
    union, shared = (one | other).sum(axis=(1, 2)), (one & other).sum(axis=(1, 2))
    expected = np.where(union > 0, shared / np.maximum(union, 1), 1.0)
    assert np.allclose(rle.iou(rle.encode(one), rle.encode(other)), expected)
