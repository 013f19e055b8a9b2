"""The three pixel streams against what the published code made of three frames of a real clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vglamm.media import resize

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LEVELS = 2  # of 255


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, np.ndarray]:
    return load_file(assets / "golden" / "preprocess_inputs.safetensors") | load_file(
        assets / "golden" / "preprocess_expected.safetensors"
    )


def normalised(frames: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], scale: float) -> np.ndarray:
    pixels = frames.astype(np.float32) / scale
    return (pixels - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]


def assert_within_levels(actual: np.ndarray, expected: np.ndarray, std: tuple[float, ...], scale: float) -> None:
    levels = np.abs(actual - expected) * np.float32(std)[:, None, None] * scale
    assert actual.shape == expected.shape
    assert levels.max() <= LEVELS
    assert levels.mean() < 0.2


def test_spatial_stream(golden: dict[str, np.ndarray]) -> None:
    pixels = normalised(resize.spatial(golden["frames.bikes"], 336), CLIP_MEAN, CLIP_STD, 255)
    assert_within_levels(pixels[:, :, ::4, ::4], golden["spatial_pixels.bikes[:,:,::4,::4]"], CLIP_STD, 255)


def test_temporal_stream(golden: dict[str, np.ndarray]) -> None:
    pixels = normalised(resize.temporal(golden["frames.bikes"], 224), IMAGENET_MEAN, IMAGENET_STD, 255)
    assert_within_levels(pixels[:, :, ::4, ::4], golden["temporal_pixels.bikes[:,:,::4,::4]"], IMAGENET_STD, 255)


def test_grounding_stream(golden: dict[str, np.ndarray]) -> None:
    resized = resize.grounding(golden["frames.bikes"], 1024)
    assert list(resized.shape[2:]) == golden["grounding_resize.bikes"].tolist()
    pixels = torch.from_numpy(normalised(resized, SAM_MEAN, SAM_STD, 1))
    square = torch.nn.functional.interpolate(pixels, size=(1024, 1024), mode="bilinear", align_corners=False).numpy()
    assert_within_levels(square[:, :, ::16, ::16], golden["grounding_pixels.bikes[:,:,::16,::16]"], SAM_STD, 1)
