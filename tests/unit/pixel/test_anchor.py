from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.pixel.conftest import clip, counted
from vglamm.errors import ConfigError
from vglamm.media import rle
from vglamm.media.sample import evenly
from vglamm.pixel import anchor
from vglamm.pixel.abreast import Trail
from vglamm.pixel.anchor import MODES, best_anchors, by_anchor, by_frame, check_mode
from vglamm.pixel.footage import Footage
from vglamm.pixel.track import Tracker

FRAMES = 8


def footage(pixel, *, keep=False, frames=FRAMES):
    return Footage(pixel, clip(pixel, frames), frames, keep=keep)


def codes(rows):
    return [[sight.rle for sight in row] for _, row in rows]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_every_frame_in_order(pixel, prompts, mode):
    rows = list(MODES[check_mode(mode)](pixel, footage(pixel, keep=mode == "anchor"), prompts))
    assert [k for k, _ in rows] == list(range(FRAMES))
    assert {len(row) for _, row in rows} == {3}
    assert any(sight.rle for _, row in rows for sight in row)
    assert all(0 < sight.score < 1 for _, row in rows for sight in row)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="frames, video, anchor"):
        check_mode("backwards")


def test_frame_by_frame_is_the_decoder_on_each_frame(pixel, prompts):
    rows = list(by_frame(pixel, footage(pixel), prompts))
    for k, features in footage(pixel).forwards():
        alone = pixel.masks(features, prompts, torch.zeros(3, dtype=torch.long))
        for s, sight in enumerate(rows[k][1]):
            assert sight.score == pytest.approx(float(torch.sigmoid(alone.objectness[s])), abs=1e-5)


@pytest.mark.parametrize(("mode", "keep", "calls"), [("frames", False, FRAMES), ("video", False, FRAMES), ("anchor", True, FRAMES)])
def test_the_trunk_sees_each_frame_once(pixel, prompts, mode, keep, calls):
    with counted(pixel) as seen:
        list(MODES[mode](pixel, footage(pixel, keep=keep), prompts))
    assert sum(seen) == calls
    assert max(seen) <= pixel.config.chunk


def test_a_long_video_is_read_again_for_the_way_back_and_no_more(pixel, prompts, monkeypatch):
    monkeypatch.setattr(anchor, "best_anchors", lambda *_: [4, 4, 2])
    pixel.config = replace(pixel.config, cache=4)
    with counted(pixel) as seen:
        again = list(by_anchor(pixel, footage(pixel), prompts))
    assert sum(seen) == 5 + 6  # 4..0 backwards, 2..7 forwards
    kept = list(by_anchor(pixel, footage(pixel, keep=True), prompts))
    assert codes(again) == codes(kept)


def test_anchors_are_where_objectness_is_best(pixel, prompts):
    pixel.config = replace(pixel.config, anchors=5)
    features = dict(footage(pixel, keep=True).forwards())
    positions = evenly(FRAMES, 5)
    scores = np.stack([Tracker(pixel, prompts, FRAMES).step(features[k], k).objectness.numpy() for k in positions])
    best = [positions[i] for i in scores.argmax(0)]
    assert best_anchors(pixel, footage(pixel, keep=True), prompts) == best
    assert best_anchors(pixel, footage(pixel), prompts) == best
    assert any(best), "with these weights not every object is best on frame 0"


def test_of_equal_anchors_the_earliest_is_taken(pixel, prompts):
    still = [replace(part, frames=np.repeat(part.frames[:1], len(part.frames), axis=0)) for part in clip(pixel, 3, 3)]
    assert best_anchors(pixel, Footage(pixel, still, 3), prompts) == [0, 0, 0]


def test_anchored_on_frame_0_is_the_published_rule(pixel, prompts, monkeypatch):
    monkeypatch.setattr(anchor, "best_anchors", lambda *_: [0, 0, 0])
    anchored = list(by_anchor(pixel, footage(pixel, keep=True), prompts))
    assert codes(anchored) == codes(Trail(pixel, footage(pixel), prompts))


def test_objects_of_different_anchors_do_not_touch_each_other(pixel, prompts, monkeypatch):
    starts = [0, 7, 3]
    monkeypatch.setattr(anchor, "best_anchors", lambda *_: starts)
    together = codes(by_anchor(pixel, footage(pixel, keep=True), prompts))
    for s, start in enumerate(starts):
        monkeypatch.setattr(anchor, "best_anchors", lambda *_, start=start: [start])
        alone = codes(by_anchor(pixel, footage(pixel, keep=True), prompts[s : s + 1]))
        for k in range(FRAMES):
            assert rle.iou([together[k][s]], alone[k])[0] >= 0.999


def test_the_way_back_mirrors_the_way_forward(pixel, prompts, monkeypatch):
    """Anchored on the last frame of a clip is anchored on the first frame of the clip reversed."""
    reverse = [replace(part, frames=part.frames[::-1].copy()) for part in clip(pixel, FRAMES, FRAMES)]
    monkeypatch.setattr(anchor, "best_anchors", lambda *_: [FRAMES - 1] * 3)
    back = codes(by_anchor(pixel, footage(pixel, keep=True), prompts))
    forward = codes(Trail(pixel, Footage(pixel, reverse, FRAMES), prompts))
    for one, other in zip(back, forward[::-1], strict=True):
        assert rle.iou(one, other).min() >= 0.999


def test_one_frame(pixel, prompts):
    [(k, row)] = list(by_anchor(pixel, footage(pixel, frames=1, keep=True), prompts))
    assert k == 0
    assert [sight.rle for sight in row] == codes(Trail(pixel, footage(pixel, frames=1), prompts))[0]
