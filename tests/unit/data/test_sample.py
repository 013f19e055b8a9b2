"""The record of every corpus refuses what does not fit."""

import numpy as np
import pytest

from vglamm.data.sample import Sample, Turn
from vglamm.errors import DialogueError, MaskError, VideoError

FRAMES = np.zeros((4, 8, 10, 3), np.uint8)
TURN = Turn("Where is the dog?", "It is <p> the dog </p> [SEG].", "look", (1,))


def masks(count: int, frames: int = 4) -> np.ndarray:
    return np.zeros((count, frames, 8, 10), np.bool_)


def test_a_whole_sample_passes():
    two = Turn("Both?", "<p> A dog </p> [SEG] and <p> two cats </p> [SEG].", "description", (1, (2, 3)))
    sample = Sample("x", FRAMES, 8.0, (TURN, two), masks(3))
    assert sample.size == (8, 10)


@pytest.mark.parametrize(
    ("answer", "targets"),
    [("It is <p> the dog </p> [SEG].", ()), ("It is the dog.", (1,)), ("<p> a </p> [SEG] and [SEG]", (1,)), ("", ())],
)
def test_targets_must_match_seg_tokens(answer, targets):
    with pytest.raises(DialogueError):
        Turn("Where is it?", answer, "look", targets)


@pytest.mark.parametrize("answer", ["<p> the dog [SEG]", "the dog </p> [SEG]", "<p> the <p> dog </p> </p> [SEG]"])
def test_phrases_must_close(answer):
    with pytest.raises(DialogueError, match="close each phrase"):
        Turn("Where is it?", answer, "look", (1,))


@pytest.mark.parametrize("wrong", [masks(0), masks(2), masks(1, frames=3), masks(1).astype(np.uint8)])
def test_masks_must_match_the_answers(wrong):
    with pytest.raises(MaskError, match=r"for 1 \[SEG\]"):
        Sample("x", FRAMES, 8.0, (TURN,), wrong)


def test_frames_and_turns_are_checked():
    with pytest.raises(VideoError, match="an image of 4 frames"):
        Sample("x", FRAMES, 8.0, (TURN,), masks(1), is_image=True)
    with pytest.raises(VideoError, match="uint8"):
        Sample("x", FRAMES.astype(np.float32), 8.0, (TURN,), masks(1))
    with pytest.raises(VideoError, match="fps"):
        Sample("x", FRAMES, 0.0, (TURN,), masks(1))
    with pytest.raises(DialogueError, match="no turns"):
        Sample("x", FRAMES, 8.0, (), masks(0))
