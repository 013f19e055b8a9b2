"""Presets name sizes that build, and ``small`` never moves."""

from __future__ import annotations

import pytest
from accelerate import init_empty_weights

from vglamm.config import ModelConfig
from vglamm.errors import ConfigError
from vglamm.model import VideoGLaMM
from vglamm.presets import PRESETS, preset


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_carries_its_name_and_survives_json(name: str) -> None:
    config = preset(name)
    assert config.name == name
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_builds(name: str) -> None:
    with init_empty_weights():
        model = VideoGLaMM(preset(name))
    assert {key.split(".")[0] for key in model.state_dict()} == {"vision", "language", "pixel"}


def test_small_is_fixed() -> None:
    config = preset("small")
    vision, lm, pixel = config.vision, config.language.lm, config.pixel
    assert (vision.frames, vision.video_tokens) == (16, 512)
    assert (vision.spatial.layers, vision.spatial.width, vision.spatial.image_size) == (12, 384, 112)
    assert (vision.temporal.depth, vision.temporal.width, vision.temporal.image_size) == (12, 384, 112)
    assert (lm["model_type"], lm["num_hidden_layers"], lm["hidden_size"]) == ("phi3", 12, 768)
    assert (pixel.version, pixel.size, pixel.image_size) == ("2.0", "t", 256)


def test_phi3_has_the_published_numbers() -> None:
    config = preset("phi3")
    assert config.vision.video_tokens == 3328
    assert config.vision.image_tokens == 576
    assert config.language.lm["sliding_window"] == 2047
    assert config.sampling.limit == 64


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"'huge'.*tiny, small, phi3"):
        preset("huge")
