from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.pixel.conftest import clip, counted
from vglamm.errors import VideoError
from vglamm.pixel.footage import Footage
from vglamm.records import PixelInput


def read(rows):
    return [(k, features.levels) for k, features in rows]


def assert_equal(ours, theirs):
    assert [k for k, _ in ours] == [k for k, _ in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 5, 8])
def test_the_trunk_sees_the_same_batches_whatever_the_chunks(pixel, chunk):
    with counted(pixel) as calls:
        rows = read(Footage(pixel, iter(clip(pixel, 8, chunk)), 8).forwards())
    assert calls == [1, 3, 3, 1], "the first mask does not wait for a whole chunk"
    whole = read(Footage(pixel, clip(pixel, 8, 3), 8).forwards())
    for (k, one), (j, other) in zip(rows, whole, strict=True):
        assert k == j
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("cache", [3, 4, 16])
def test_backwards_is_forwards_reversed(pixel, cache):
    pixel.config = replace(pixel.config, cache=cache)
    forwards = read(Footage(pixel, clip(pixel), 8).forwards())
    with counted(pixel) as calls:
        backwards = read(Footage(pixel, clip(pixel), 8).backwards(6))
    assert sum(calls) == 7
    assert max(calls) <= 3
    assert_equal(backwards, forwards[6::-1])


def test_single_frames(pixel):
    forwards = read(Footage(pixel, clip(pixel), 8).forwards())
    with counted(pixel) as calls:
        rows = read(Footage(pixel, clip(pixel), 8).at([0, 4, 7]))
    assert calls == [1, 1, 1]
    assert_equal(rows, [forwards[k] for k in (0, 4, 7)])


def test_what_is_kept_is_made_once(pixel):
    footage = Footage(pixel, iter(clip(pixel)), 8, keep=True)
    with counted(pixel) as calls:
        forwards, backwards = read(footage.forwards()), read(footage.backwards(7))
        [(_, levels)] = read(footage.at([5]))
    assert sum(calls) == 8
    assert_equal(backwards, forwards[::-1])
    assert torch.equal(levels[0], forwards[5][1][0])
    assert footage.size == (48, 64)


def test_an_iterator_is_read_once(pixel):
    footage = Footage(pixel, iter(clip(pixel)), 8)
    list(footage.forwards())
    with pytest.raises(VideoError, match="can be read once"):
        list(footage.backwards(3))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda parts: parts[:-1], "up to 5; expected up to 7"),
        (lambda parts: [parts[0], parts[2]], "starts at frame 6; expected frame 3"),
        (lambda parts: [parts[0], replace(parts[1], size=(1, 2)), parts[2]], "one size"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(pixel, change, word):
    with pytest.raises(VideoError, match=word):
        list(Footage(pixel, iter(change(clip(pixel))), 8).forwards())


def test_no_frame_is_refused(pixel):
    with pytest.raises(VideoError, match="0 grounding frames"):
        Footage(pixel, [], 0)


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("keep", [False, True])
def test_what_was_made_ahead_is_what_would_be_made(pixel, frames, keep):
    chunks = clip(pixel, frames, 2)
    plain = Footage(pixel, chunks, frames, keep=keep)
    expected = list(plain.forwards())
    ahead = Footage(pixel, chunks[:2], min(frames, 4)).ahead()
    with counted(pixel) as calls:
        footage = Footage(pixel, lambda first, stop: _of(chunks, first, stop), frames, keep=keep, ahead=ahead)
        found = list(footage.forwards())
    assert calls == [3, 1][: 2 * (frames > 4)], "the trunk sees no frame twice"
    for (k, one), (j, other) in zip(found, expected, strict=True):
        assert k == j
        assert all(torch.equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))
    assert footage.size == plain.size


def _of(chunks, first, stop):
    frames = np.concatenate([part.frames for part in chunks])[first:stop]
    yield PixelInput(frames, chunks[0].size, first)


def test_what_was_made_ahead_waits_for_who_reads_that_far(pixel):
    """Anchors are single frames; the first of them is frame 0."""
    chunks = clip(pixel, 8, 2)
    ahead = Footage(pixel, chunks, 8).ahead()
    footage = Footage(pixel, chunks, 8, ahead=ahead)
    assert [k for k, _ in footage.at([0, 5])] == [0, 5]
    assert [k for k, _ in footage.forwards()] == list(range(8))
