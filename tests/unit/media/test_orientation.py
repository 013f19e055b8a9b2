from __future__ import annotations

import struct

import numpy as np
import pytest

from vglamm.errors import VideoUnreadable
from vglamm.media.orientation import Orientation, display_size, from_display_matrix, show

FRAME = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
ONE = 1 << 16


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    return struct.pack("<9i", a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("entries", "rotation", "turned"),
    [
        ((1, 0, 0, 1), 0, FRAME),
        ((0, 1, -1, 0), 90, np.rot90(FRAME, -1)),
        ((-1, 0, 0, -1), 180, np.rot90(FRAME, 2)),
        ((0, -1, 1, 0), 270, np.rot90(FRAME, 1)),
        ((-1, 0, 0, 1), None, FRAME[:, ::-1]),
        ((1, 0, 0, -1), None, FRAME[::-1]),
        ((0, 1, 1, 0), None, FRAME.swapaxes(0, 1)),
        ((0, -1, -1, 0), None, np.rot90(FRAME, 2).swapaxes(0, 1)),
    ],
)
def test_display_matrices(entries: tuple[int, int, int, int], rotation: int | None, turned: np.ndarray) -> None:
    way = from_display_matrix(matrix(*entries))
    assert way.rotation == rotation
    np.testing.assert_array_equal(way.apply(FRAME), turned)
    assert display_size(3, 2, 1.0, way) == turned.shape[1::-1]


def test_an_oblique_angle_is_refused() -> None:
    for entries in ((1, 1, -1, 1), (0, 0, 0, 0)):
        with pytest.raises(VideoUnreadable, match="oblique"):
            from_display_matrix(matrix(*entries))


def test_pixels_become_square_by_width_before_the_turn() -> None:
    assert display_size(720, 576, 16 / 15, Orientation()) == (768, 576)
    assert display_size(720, 576, 16 / 15, Orientation(transpose=True)) == (576, 768)
    flat = np.full((10, 12, 3), 9, np.uint8)
    assert show(flat, Orientation(), (16, 10)).shape == (10, 16, 3)
    assert show(flat, Orientation(), (16, 10)).min() == 9
