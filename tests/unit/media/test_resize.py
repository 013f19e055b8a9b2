from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from vglamm.errors import VideoError
from vglamm.media import resize

RNG = np.random.default_rng(0)


def frames(height: int, width: int, count: int = 2) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (64, 64), (30, 41), (336, 336)])
def test_spatial_is_pillows_bicubic_and_the_centre(height: int, width: int) -> None:
    video = frames(height, width)
    out = resize.spatial(video, 48)
    assert out.shape == (2, 3, 48, 48)
    assert out.dtype == np.uint8
    long = int(48 * max(height, width) / min(height, width))
    w, h = (long, 48) if width >= height else (48, long)
    whole = np.asarray(Image.fromarray(video[1]).resize((w, h), Image.Resampling.BICUBIC))
    top, left = (h - 48) // 2, (w - 48) // 2
    np.testing.assert_array_equal(out[1], whole[top : top + 48, left : left + 48].transpose(2, 0, 1))


def test_the_whole_of_a_wide_picture_is_there_once() -> None:
    video = np.zeros((64, 4, 400, 3), np.uint8)
    tracemalloc.start()  # numpy tells it of its arrays; Pillow's one picture is not counted
    resize.spatial(video, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 64 * 6400 * 3 / 10, "64 strips of 64 x 6400 would be 79 MB"


def test_temporal_reads_the_four_neighbours_and_nothing_else() -> None:
    """Half-pixel centres by hand: at a quarter of the size each output is the mean of the middle 2 x 2 of a 4 x 4 block."""
    video = frames(64, 64)
    out = resize.temporal(video, 16)
    blocks = video.astype(np.float64).reshape(2, 16, 4, 16, 4, 3)
    middle = blocks[:, :, 1:3, :, 1:3].mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    assert np.abs(out - middle).max() <= 0.5 + 1e-6
    assert resize.temporal(frames(30, 50, 19), 8).shape == (19, 3, 8, 8)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(272, 640, (435, 1024)), (640, 272, (1024, 435)), (7, 7, (1024, 1024)), (1, 4000, (1, 1024))]
)
def test_grounding_size_rounds_half_up(height: int, width: int, expected: tuple[int, int]) -> None:
    assert resize.grounding_size(height, width, 1024) == expected
    assert int(1.5 + 0.5) == resize.grounding_size(3, 200, 100)[0]


def test_grounding_is_pillows_bilinear_with_antialias() -> None:
    video = frames(60, 100)
    out = resize.grounding(video, 50)
    np.testing.assert_array_equal(
        out[0].transpose(1, 2, 0), np.asarray(Image.fromarray(video[0]).resize((50, 30), Image.Resampling.BILINEAR))
    )
    assert resize.grounding(video, 100).tobytes() == video.transpose(0, 3, 1, 2).tobytes()


def test_frames_that_are_not_contiguous_are_fine() -> None:
    video = frames(40, 60)
    turned = video[:, ::-1, ::-1]
    for stream in (resize.spatial, resize.temporal, resize.grounding):
        np.testing.assert_array_equal(stream(turned, 32), stream(np.ascontiguousarray(turned), 32))


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((2, 3, 8, 8), np.uint8)]
)
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    for stream in (resize.spatial, resize.temporal, resize.grounding):
        with pytest.raises(VideoError, match=r"uint8\[T, H, W, 3\]"):
            stream(bad, 4)
