import pytest
import torch

from tests import fakes
from vglamm.errors import VideoError
from vglamm.vision.adapter import pool_grid
from vglamm.vision.encoder import Vision


@pytest.fixture(scope="module")
def vision() -> Vision:
    return fakes.model().vision.requires_grad_(False)


def frames(videos: int = 1, count: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (videos, count, 3, 32, 32), dtype=torch.uint8)


def test_a_video_has_the_tokens_its_config_promises(vision):
    assert vision(frames(2), frames(2)).shape == (2, vision.config.video_tokens, 64)
    assert vision(frames(2, 1), None).shape == (2, vision.config.image_tokens, 64)


def test_normalise_is_mean_and_std_of_each_tower(vision):
    spatial, temporal = vision.normalise(torch.full((1, 3, 2, 2), 51), torch.full((1, 3, 2, 2), 102))
    assert temporal is not None
    for pixels, level, stats in ((spatial, 0.2, vision.config.spatial), (temporal, 0.4, vision.config.temporal)):
        expected = [(level - mean) / std for mean, std in zip(stats.mean, stats.std, strict=True)]
        assert pixels[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_order_is_spatial_frame_by_frame_then_temporal(vision):
    spatial, temporal = frames(), frames()
    whole = vision(spatial, temporal)[0]
    spatial[0, 2] = 255 - spatial[0, 2]
    changed = (vision(spatial, temporal)[0] - whole).abs().amax(-1) > 0
    assert changed.nonzero()[:, 0].tolist() == [8, 9, 10, 11]  # four pooled tokens of frame 2
    temporal[0, 3] = 255 - temporal[0, 3]
    moved = (vision(spatial, temporal)[0] - whole).abs().amax(-1) > 0
    assert moved[16:24].sum() == 0  # the first chunk of two frames
    assert moved[24:].all()


def test_frames_that_fill_no_chunk_are_refused(vision):
    with pytest.raises(VideoError, match="multiple of 2"):
        vision(frames(count=3), frames(count=3))
    with pytest.raises(VideoError, match="equal numbers"):
        vision(frames(count=4), frames(count=2))


def test_pooling_averages_cells():
    grid = torch.arange(16.0).view(1, 16, 1)
    assert pool_grid(grid, 4, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert pool_grid(grid, 4, 4) is grid
