"""The deployments of the parts, made here as their replicas make them there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serve.profile import Profile
from serve.setup import Setup
from tests import fakes
from vglamm import checkpoint
from vglamm.media.limits import Limits
from vglamm.records import VisionInput
from vglamm.walk import load


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is stored in float16, as the shipped one is."""
    folder = tmp_path_factory.mktemp("half")
    checkpoint.save(fakes.talker(), folder, tokenizer=fakes.tokenizer(), dtype="float16")
    return folder


@pytest.fixture
def steps(half: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    from serve.deployments.language import Language
    from serve.deployments.pixel import Pixel
    from serve.deployments.vision import Vision

    setup = Setup((("half", str(half)),), Profile("p", device="cpu"), str(tmp_path), Limits())
    vision, language, pixel = Vision(setup), Language(setup), Pixel(setup, None)  # type: ignore[arg-type]
    yield {"vision": vision.step, "language": language.own.engine.step, "pixel": pixel.step}
    language.own.engine.close()


def test_each_part_computes_on_a_cpu_as_the_walk_does_whatever_its_weights_are_stored_in(steps: dict[str, Any], half: Path) -> None:
    walk = load(half)
    assert {name: step.dtype for name, step in steps.items()} == dict.fromkeys(steps, torch.float32)
    side = walk.config.vision.spatial.image_size
    given = [VisionInput(np.full((1, 3, side, side), 99, np.uint8), None)]
    assert np.array_equal(steps["vision"](given)[0].tokens, walk.vision(given)[0].tokens)
