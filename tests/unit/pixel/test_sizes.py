"""SAM 2.0 and 2.1 in all four sizes are those of the sam2 package, and 2.1 tracks as 2.0 does."""

from dataclasses import replace

import pytest
import torch

from tests import fakes
from tests.unit.pixel.conftest import clip
from vglamm import checkpoint
from vglamm.pixel.anchor import MODES
from vglamm.pixel.config import SIZES, VERSIONS, PixelConfig
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Footage
from vglamm.pixel.track import Tracker
from vglamm.presets import preset

FRAMES = 20  # more than the 7 memories and 16 pointers that are looked at
PUBLISHED = {"t": 38.9, "s": 46.0, "b+": 80.8, "l": 224.4}
"""Millions of parameters, https://github.com/facebookresearch/sam2#sam-21-checkpoints."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_both_versions_builds_with_the_published_parameters(version, size):
    part = checkpoint.skeleton(replace(preset("phi3"), pixel=PixelConfig(version=version, size=size)), "pixel")
    assert sum(p.numel() for p in part.parameters()) / 1e6 == pytest.approx(PUBLISHED[size], abs=0.1)
    assert (part.sam.obj_ptr_tpos_proj.__class__ is torch.nn.Linear) == (version == "2.1")


@pytest.fixture(scope="module")
def newer() -> Pixel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        part = Pixel(replace(fakes.config().pixel, version="2.1")).eval()
    torch.nn.init.constant_(part.sam.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 2.0)
    return part


class Elephant(Tracker):
    """Never forgets a frame."""

    def forget(self, index: int) -> None:
        pass


def test_forgetting_changes_nothing_in_the_newer_version(newer):
    prompts = torch.randn(3, newer.config.prompt_width)
    footage = [features for _, features in Footage(newer, clip(newer, FRAMES), FRAMES).forwards()]
    pruned, whole = (kind(newer, prompts, FRAMES) for kind in (Tracker, Elephant))
    for k, features in enumerate(footage):
        assert torch.equal(pruned.step(features, k).masks, whole.step(features, k).masks), k
    assert len(pruned.memory["non_cond_frame_outputs"]) < len(whole.memory["non_cond_frame_outputs"])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_works_in_the_newer_version(newer, mode):
    prompts = torch.randn(2, newer.config.prompt_width)
    rows = list(MODES[mode](newer, Footage(newer, clip(newer), 8, keep=True), prompts))
    assert [k for k, _ in rows] == list(range(8))
    assert all(len(sights) == 2 for _, sights in rows)
