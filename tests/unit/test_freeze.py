from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests import fakes
from vglamm.errors import ConfigError
from vglamm.freeze import train_only
from vglamm.language.config import LoraSettings
from vglamm.model import VideoGLaMM

PUBLISHED = ("lora", "embeddings", "head", "projector", "mask_decoder", "adapters")
QKV = "language.lm.model.layers.{}.self_attn.qkv_proj.lora_{}.default.weight"
LANGUAGE_AND_VISION = [
    "language.lm.lm_head.weight",
    "language.lm.model.embed_tokens.weight",
    *(QKV.format(layer, side) for layer in (0, 1) for side in "AB"),
    *(f"language.projector.fc{i}.{kind}" for i in (1, 2) for kind in ("bias", "weight")),
    *(f"vision.{tower}_adapter.fc{i}.{kind}" for tower in ("spatial", "temporal") for i in (1, 2) for kind in ("bias", "weight")),
]


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    config = fakes.config()
    return fakes.model(replace(config, language=replace(config.language, lora=LoraSettings(dropout=0.3))))


def test_the_published_choice_trains_exactly_these_tensors(model: VideoGLaMM) -> None:
    decoder = {f"pixel.sam.sam_mask_decoder.{name}" for name, _ in model.pixel.sam.sam_mask_decoder.named_parameters()}
    assert len(decoder) == 131
    assert train_only(model, PUBLISHED) == sorted([*LANGUAGE_AND_VISION, *decoder])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {*LANGUAGE_AND_VISION, *decoder}


def test_frozen_parts_stay_in_eval_mode(model: VideoGLaMM) -> None:
    model.train()
    train_only(model, PUBLISHED)
    modes = {name: module.training for name, module in model.named_modules()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, module in model.named_modules():
        if list(module.parameters()):
            assert modes[name] == any(t.startswith(f"{name}.") or name == "" for t in trained), name
    frozen = ("vision.spatial.", "vision.temporal.", "pixel.sam.image_encoder")
    assert not any(on for name, on in modes.items() if name.startswith(frozen))
    assert modes["language.lm.model.layers.0.self_attn.qkv_proj.lora_dropout.default"]
    assert not modes["language.lm.model.layers.0.mlp"]


def test_a_dropout_in_a_frozen_part_is_off() -> None:
    module = nn.ModuleDict({name: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)) for name in ("frozen", "trained")})
    train_only(module, [r"trained\..*"])
    x = torch.randn(64, 4)
    assert torch.equal(module["frozen"](x), module["frozen"][0](x))
    assert (module["trained"](x) == 0).any()


def test_later_patterns_take_out(model: VideoGLaMM) -> None:
    left = train_only(model, ["projector", r"-language\.projector\..*bias"])
    assert left == ["language.projector.fc1.weight", "language.projector.fc2.weight"]


@pytest.mark.parametrize(
    ("patterns", "said"), [(["audio"], "matches no parameter"), (["("], "regular expression"), (["all", "-all"], "trains nothing")]
)
def test_what_matches_nothing_is_an_error(model: VideoGLaMM, patterns: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train_only(model, patterns)
