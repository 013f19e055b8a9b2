"""A mask corrected by points or a box, carried both ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.pixel.conftest import clip, counted
from vglamm.errors import MaskError
from vglamm.media import rle
from vglamm.pixel.footage import Footage
from vglamm.pixel.marks import by_marks, clicks
from vglamm.pixel.sight import look
from vglamm.pixel.track import Clicks, Tracker
from vglamm.records import Marks

FRAMES, SIZE = 8, (48, 64)
POINT = ((20.0, 24.0, True),)


def footage(pixel, *, keep=True, frames=FRAMES):
    return Footage(pixel, clip(pixel, frames), frames, keep=keep)


def test_the_marked_frame_comes_first_then_those_after_it_then_those_before_it(pixel):
    rows = list(by_marks(pixel, footage(pixel), Marks(3, POINT)))
    assert [k for k, _ in rows] == [3, 4, 5, 6, 7, 2, 1, 0]
    assert {len(row) for _, row in rows} == {1}
    assert any(row[0].rle for _, row in rows)
    assert [k for k, _ in by_marks(pixel, footage(pixel), Marks(0, POINT))] == list(range(FRAMES))
    assert [k for k, _ in by_marks(pixel, footage(pixel), Marks(7, POINT))] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_marks_reach_sams_prompt_encoder_on_its_square(pixel):
    """In source pixels -> on the square; a box is two corners before the points and makes the mask before it void."""
    side = pixel.config.image_size
    before = rle.encode(np.ones((1, *SIZE), bool))[0]
    point = clicks(pixel, Marks(0, ((32.0, 12.0, False),), before=before), SIZE)
    assert point.points["point_coords"].tolist() == [[[side / 2, side / 4]]]
    assert point.points["point_labels"].tolist() == [[0.0]]
    assert point.mask.shape[-2:] == pixel.sam.sam_prompt_encoder.mask_input_size
    assert point.mask.eq(10).all()
    boxed = clicks(pixel, Marks(0, POINT, (0.0, 0.0, 64.0, 48.0), before), SIZE)
    assert boxed.points["point_labels"].tolist() == [[2.0, 3.0, 1.0]]
    assert boxed.points["point_coords"][0, 1].tolist() == [side, side]
    assert boxed.mask is None


def test_the_marked_frame_is_what_the_packages_predictor_makes_of_the_points(pixel):
    """Against SAM's heads called with the points themselves."""
    [(k, [sight]), *_] = by_marks(pixel, footage(pixel), Marks(2, POINT))
    features = dict(footage(pixel).forwards())[2]
    given = clicks(pixel, Marks(2, POINT), SIZE)
    fine, middle, coarse = features.levels
    image = coarse + pixel.sam.no_mem_embed.view(1, -1, 1, 1)
    _, _, _, low, _, _, score = pixel.sam._forward_sam_heads(
        image, given.points, None, [fine, middle], multimask_output=pixel.sam._use_multimask(True, given.points)
    )
    assert k == 2
    assert sight.score == pytest.approx(float(torch.sigmoid(score)), abs=1e-5)
    inside = torch.nn.functional.interpolate(low, SIZE, mode="bilinear", align_corners=False)[:, 0] > 0
    assert sight.rle == rle.encode(inside.numpy())[0]


def test_where_and_what_is_marked_decides(pixel):
    def first(marks: Marks):
        return next(by_marks(pixel, footage(pixel), marks))[1][0]

    here, there = first(Marks(2, POINT)), first(Marks(2, ((60.0, 4.0, True),)))
    box = first(Marks(2, box=(10.0, 10.0, 30.0, 30.0)))
    half = np.zeros((1, *SIZE), bool)
    half[:, :, :32] = True
    amended = first(Marks(2, POINT, before=rle.encode(half)[0]))
    codes = [here.rle, there.rle, box.rle, amended.rle]
    assert len({str(code) for code in codes}) == 4


def test_the_way_back_mirrors_the_way_forward(pixel):
    reverse = [replace(part, frames=part.frames[::-1].copy()) for part in clip(pixel, FRAMES, FRAMES)]
    back = list(by_marks(pixel, footage(pixel), Marks(FRAMES - 1, POINT)))
    forward = list(by_marks(pixel, Footage(pixel, reverse, FRAMES), Marks(0, POINT)))
    assert rle.iou([row[0].rle for _, row in back], [row[0].rle for _, row in forward]).min() >= 0.999


@pytest.mark.parametrize(("keep", "passes"), [(True, FRAMES), (False, FRAMES + 1)])
def test_the_trunk_sees_each_frame_once_the_marked_one_twice_in_a_long_video(pixel, keep, passes):
    pixel.config = replace(pixel.config, cache=4)
    with counted(pixel) as seen:
        rows = list(by_marks(pixel, footage(pixel, keep=keep), Marks(4, POINT)))
    assert sum(seen) == passes
    assert len(rows) == FRAMES


def test_memory_does_not_grow_with_the_video(pixel):
    """What a tracker keeps after many frames is what it kept after a few."""

    def held(frames: int) -> int:
        tracker = Tracker(pixel, clicks(pixel, Marks(0, POINT), SIZE), frames)
        for k, features in footage(pixel, keep=False, frames=frames).forwards():
            tracker.step(features, k)
        return sum(len(kept) for kept in tracker.memory["non_cond_frame_outputs"].values())

    assert held(40) == held(20)


def test_clicks_without_effect_on_later_frames_but_through_memory(pixel):
    """Only the first frame is prompted: a tracker goes on as one that is prompted by vectors does."""
    seen: list[bool] = []
    handle = pixel.sam.sam_prompt_encoder.register_forward_pre_hook(
        lambda _, __, given: seen.append(bool((given["points"][1] >= 0).any())), with_kwargs=True
    )
    try:
        list(by_marks(pixel, footage(pixel, frames=3), Marks(0, POINT)))
    finally:
        handle.remove()
    assert seen == [True, False, False]


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (lambda: Marks(0), "without a mark"),
        (lambda: Marks(0, box=(3.0, 3.0, 3.0, 9.0)), "x0 < x1"),
        (lambda: Marks(FRAMES, POINT), "frame 8"),
        (lambda: Marks(0, ((65.0, 1.0, True),)), r"\(65, 1\)"),
    ],
)
def test_marks_that_cannot_be_used(pixel, marks, said):
    with pytest.raises(MaskError, match=said):
        list(by_marks(pixel, footage(pixel), marks()))


def test_one_object_is_clicked_at_a_time(pixel):
    given = clicks(pixel, Marks(0, POINT), SIZE)
    assert isinstance(given, Clicks)
    assert len(given) == 1
    [(_, features), *_] = footage(pixel).forwards()
    [sight] = look(Tracker(pixel, given, FRAMES).step(features, 0), SIZE)
    assert 0 < sight.score < 1
