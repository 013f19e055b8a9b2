from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from tests import fakes
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.prepare import prepare
from vglamm.records import PixelInput


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def pixel() -> Iterator[Pixel]:
    """The golden weights with 3 frames a chunk and 3 anchors, its config put back afterwards."""
    part, _ = fakes.golden_pixel()
    kept = part.config
    part.config = replace(kept, chunk=3, cache=16, anchors=3)
    yield part
    part.config = kept


@pytest.fixture
def prompts() -> torch.Tensor:
    return torch.from_numpy(fakes.golden_pixel()[1][[0, 1, 5]])


def clip(pixel: Pixel, frames: int = 8, chunk: int = 3, size: tuple[int, int] = (48, 64)) -> list[PixelInput]:
    video = fakes.video(frames, *size)
    return [prepare(video[k : k + chunk], pixel.config, start=k) for k in range(0, frames, chunk)]


@contextmanager
def counted(pixel: Pixel) -> Iterator[list[int]]:
    """Inside, the number of frames of each call of the trunk."""
    calls: list[int] = []
    handle = pixel.sam.image_encoder.trunk.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    try:
        yield calls
    finally:
        handle.remove()
