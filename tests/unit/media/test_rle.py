"""RLE agrees with pycocotools, and broken RLE is refused before it reaches C."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from vglamm.errors import MaskError
from vglamm.media import rle


def blob(height: int = 6, width: int = 9) -> np.ndarray:
    masks = np.zeros((3, height, width), dtype=bool)
    masks[0, 1:4, 2:7] = True
    masks[2, :, 3:5] = True
    return masks


def test_round_trip_with_an_empty_mask() -> None:
    encoded = rle.encode(blob())
    assert encoded[1] is None
    assert encoded[0] is not None
    assert encoded[0]["size"] == [6, 9]
    assert isinstance(encoded[0]["counts"], str)
    assert np.array_equal(rle.decode(encoded, (6, 9)), blob())


def test_uint8_of_any_value_is_inside() -> None:
    shades = blob().astype(np.uint8)
    shades[0, 1, 2:7] = 255
    assert rle.encode(shades) == rle.encode(blob())


def test_boxes_are_exclusive_and_equal_from_masks_and_rle() -> None:
    assert rle.boxes(rle.encode(blob())) == rle.boxes_of_masks(blob()) == [(2.0, 1.0, 7.0, 4.0), None, (3.0, 0.0, 5.0, 6.0)]


def test_areas_and_iou() -> None:
    encoded = rle.encode(blob())
    assert rle.areas(encoded) == [15, 0, 12]
    shared = 3 * 2
    assert rle.iou(encoded, [encoded[2], None, None]) == pytest.approx([shared / (15 + 12 - shared), 1.0, 0.0])


def test_runs_agree_with_the_uncompressed_form() -> None:
    mask = np.random.default_rng(0).random((40, 50)) > 0.5
    flat = np.concatenate(([False], mask.T.ravel()))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    expected = np.diff(np.concatenate(([0], edges, [mask.size])))
    (encoded,) = rle.encode(mask[None])
    assert encoded is not None
    assert rle.runs(encoded).tolist() == expected.tolist()


def test_no_masks() -> None:
    assert rle.encode(np.zeros((0, 4, 4), dtype=bool)) == []
    assert rle.decode([], (4, 4)).shape == (0, 4, 4)


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [4, 5], "counts": ""},  # pycocotools would return uninitialised memory for these three
        {"size": [4, 5], "counts": "0"},
        {"size": [4, 5], "counts": "\x00"},
        {"size": [4, 5], "counts": "zzzz"},
        {"size": [4, 5], "counts": "P" * 40},
        {"size": [4, 5], "counts": "é"},
        {"size": [4, 5], "counts": [3, 17]},
        {"size": [4, -5], "counts": "d0"},
        {"size": [4.0, 5], "counts": "d0"},
        {"size": [1 << 40, 1 << 40], "counts": "d0"},
        {"size": [4], "counts": "d0"},
        {"counts": "d0"},
        [4, 5],
    ],
)
def test_broken_rle_is_refused(broken: Any) -> None:
    with pytest.raises(MaskError, match="RLE"):
        rle.decode([broken], (4, 5))


def test_counts_of_a_negative_run_are_refused() -> None:
    good = coco.encode(np.asfortranarray(np.eye(6, dtype=np.uint8)))["counts"].decode()
    assert rle.decode([{"size": [6, 6], "counts": good}], (6, 6)).sum() == 6
    with pytest.raises(MaskError, match="runs that cover"):
        rle.decode([{"size": [6, 6], "counts": "O" + good[1:]}], (6, 6))


def test_another_size_is_refused() -> None:
    encoded = rle.encode(blob())
    with pytest.raises(MaskError, match="size of their video"):
        rle.decode(encoded, (9, 6))
    with pytest.raises(MaskError, match="size"):
        rle.iou(encoded, rle.encode(blob(7, 9)))
    with pytest.raises(MaskError, match="equal numbers"):
        rle.iou(encoded, encoded[:2])


@pytest.mark.parametrize("masks", [np.zeros((4, 5), bool), np.zeros((1, 4, 5), np.float32), np.zeros((1, 0, 5), bool)])
def test_wrong_arrays_are_refused(masks: np.ndarray) -> None:
    with pytest.raises(MaskError, match="threshold"):
        rle.encode(masks)


def test_a_long_narrow_mask_is_a_mask() -> None:
    mask = np.zeros((1, 2, 33_000), bool)
    mask[0, 1, 32_999] = True
    assert rle.boxes(rle.encode(mask)) == [(32_999.0, 1.0, 33_000.0, 2.0)]


def test_a_size_beyond_all_videos_is_refused() -> None:
    with pytest.raises(MaskError, match="size"):
        rle.decode([{"size": [1 << 16, 1 << 16], "counts": "0"}], (1 << 4, 1 << 4))
