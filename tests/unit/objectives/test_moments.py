"""The numbers of frames that visual tokens are asked for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vglamm.model import VideoGLaMM
from vglamm.objectives.moments import frame_numbers, frames_said
from vglamm.presets import preset


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    torch.manual_seed(0)
    return VideoGLaMM(preset("tiny")).eval()


@torch.no_grad()
def test_a_spatial_token_changes_with_the_frame_of_its_number_alone(model: VideoGLaMM) -> None:
    vision = model.config.vision
    numbers, spatial = frame_numbers(vision), vision.frames * vision.spatial_pool**2
    assert len(numbers) == vision.video_tokens
    looks, moves = (
        torch.randint(0, 256, (vision.frames, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        for side in (vision.spatial.image_size, vision.temporal.image_size)
    )
    [before] = model.vision.encode([looks], [moves])
    for frame in (0, 3, 7):
        other = looks.clone()
        other[frame] = 255 - other[frame]
        [after] = model.vision.encode([other], [moves])
        changed = (after != before).any(-1)
        assert torch.equal(changed[:spatial], numbers[:spatial] == frame)


def said(model: VideoGLaMM, numbers: Tensor, items: list[dict[str, Tensor]]) -> float:
    """The loss where each token tells the frame ``numbers`` say, without doubt, and what is not asked tells nonsense."""
    digits = list(range(100, 100 + model.config.vision.frames))
    head = model.language.lm.get_output_embeddings().weight
    halfway = torch.full((len(items), 500, head.shape[1]), 1e3)
    for row, item in enumerate(items):
        start, shown = int(item["start"]), item["shown"]
        told = head[digits][numbers][: len(shown)] * 1e3
        halfway[row, start : start + len(shown)] = torch.where(shown[:, None], told, halfway[row, start : start + len(shown)])
    with torch.no_grad():
        return float(frames_said(model.language, model.config.vision, halfway, items, digits))


def test_the_loss_is_of_tokens_that_show_something_in_videos_alone(model: VideoGLaMM) -> None:
    numbers = frame_numbers(model.config.vision)
    shown = torch.rand(len(numbers), generator=torch.Generator().manual_seed(2)) < 0.3
    video = {"start": torch.tensor(7), "shown": shown, "image": torch.tensor(False)}
    other = {"start": torch.tensor(31), "shown": ~shown, "image": torch.tensor(False)}
    image = {**video, "image": torch.tensor(True)}
    blind = {**video, "shown": torch.zeros(1, dtype=torch.bool)}
    right = said(model, numbers, [video])
    wrong = said(model, numbers.roll(150), [video])
    assert right < math.log(8) * int(shown.sum()) < wrong
    assert said(model, numbers, [image, blind]) == 0
    assert said(model, numbers, [image, video, blind, other]) == pytest.approx(right + said(model, numbers, [other]), rel=1e-5)
