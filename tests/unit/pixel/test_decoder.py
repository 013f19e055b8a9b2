from dataclasses import replace

import pytest
import torch

from tests import fakes
from tests.unit.pixel.conftest import clip
from vglamm.errors import ConfigError, MaskError
from vglamm.pixel.decoder import Features, MaskLogits, Pixel, build_sam, to_source
from vglamm.pixel.track import ABSENT, Tracker, gate


def test_square_normalises_and_stretches(pixel):
    frames = torch.full((1, 3, 32, 128), 200, dtype=torch.uint8)
    out = pixel.square(frames)
    assert out.shape == (1, 3, 128, 128)
    expected = (200 - torch.tensor(pixel.config.mean)) / torch.tensor(pixel.config.std)
    torch.testing.assert_close(out[0, :, 64, 64], expected)


def test_features_of_parts_join_to_features_of_the_whole(pixel):
    pixels = pixel.square(torch.from_numpy(clip(pixel, 4, 4)[0].frames))
    whole = pixel.features(pixels)
    joined = Features.join([pixel.features(pixels[:1]), pixel.features(pixels[1:])])
    assert len(joined) == 4
    for one, other in zip(whole.levels, joined.levels, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_unequal_prompts_and_frames_are_refused(pixel, prompts):
    features = pixel.features(pixel.square(torch.from_numpy(clip(pixel, 2, 2)[0].frames)))
    with pytest.raises(MaskError, match="3 prompts for 2 frames"):
        pixel.masks(features, prompts, torch.tensor([0, 1]))


def test_a_wrong_override_and_a_wrong_width_are_config_errors():
    config = fakes.config().pixel
    with pytest.raises(ConfigError, match="no_such_setting"):
        build_sam(replace(config, overrides={**config.overrides, "no_such_setting": 1}))
    with pytest.raises(ConfigError, match="width 64"):
        Pixel(replace(config, prompt_width=32))


def test_the_prompt_hook_is_gone_afterwards(pixel, prompts):
    encoder = pixel.sam.sam_prompt_encoder
    before = encoder(points=None, boxes=None, masks=None)[0].shape
    with pixel.prompted(prompts[:1]):
        assert encoder(points=None, boxes=None, masks=None)[0].shape[1] == before[1] + 1
    assert encoder(points=None, boxes=None, masks=None)[0].shape == before


def test_gate_and_resize():
    logits = MaskLogits(torch.ones(2, 2, 2), torch.tensor([1.0, 0.0]), torch.ones(2))
    gated = gate(logits)
    assert gated[0].eq(1).all()
    assert gated[1].eq(ABSENT).all()
    assert to_source(gated, (5, 7)).shape == (2, 5, 7)


def test_a_tracker_needs_a_prompt(pixel):
    with pytest.raises(MaskError, match="S >= 1"):
        Tracker(pixel, torch.zeros(0, 64), 4)


def test_memory_of_the_past_is_bounded(pixel, prompts):
    features = pixel.features(pixel.square(torch.from_numpy(clip(pixel, 1, 1)[0].frames)))
    tracker, sizes = Tracker(pixel, prompts, 40), []
    for k in range(40):
        tracker.step(features, k)
        past = tracker.memory["non_cond_frame_outputs"]
        sizes.append((len(past), sum("maskmem_features" in kept for kept in past.values())))
    assert sizes[-1] == sizes[20] == (pixel.sam.max_obj_ptrs_in_encoder - 1, pixel.sam.num_maskmem - 1)
    assert list(tracker.memory["cond_frame_outputs"]) == [0]
