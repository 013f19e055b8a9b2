"""Small honest things to test with: a model of random weights, a tokenizer of bytes, a model that was taught one answer.

Nothing here is a mock: they are the real classes at sizes that a test can afford.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional

from vglamm.config import ModelConfig
from vglamm.convert import rules, translate
from vglamm.language.config import LanguageConfig
from vglamm.language.dialogue import Scribe
from vglamm.model import VideoGLaMM
from vglamm.pixel.decoder import Pixel
from vglamm.presets import narrow_sam, preset
from vglamm.vision.config import SpatialConfig, TemporalConfig, VisionConfig

ASSETS = Path(__file__).parent / "assets"
CONTROL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
WORDS = ("<p>", "</p>", " a cat", " a dog", " sees", " frames:", "You are a helpful AI assistant.")
PAD, BOS = "<pad>", "<bos>"
VOCABULARY = 280
ANSWER = "<p> a cat </p> [SEG] sees <p> a dog </p> [SEG] frames:(1,3)."
FAMILIES: dict[str, dict[str, Any]] = {
    "phi3": {"original_max_position_embeddings": 512},
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
}


@cache
def tokenizer() -> Any:
    """Bytes, the control words and a few common words: any text comes back unchanged. ``[SEG]`` is an ordinary added token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate([PAD, BOS, *alphabet])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in (PAD, BOS, *CONTROL)])
    core.add_tokens([AddedToken(word, normalized=False) for word in (*WORDS, "[SEG]")])
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, bos_token=BOS, eos_token="<|end|>")


def language_config(kind: str = "phi3", *, sliding_window: int | None = None, layers: int = 2) -> LanguageConfig:
    """A causal LM of 64 channels of one of ``FAMILIES``; ``sliding_window`` in tokens where the family has one."""
    lm = {
        "model_type": kind,
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "pad_token_id": tokenizer().pad_token_id,
        "bos_token_id": tokenizer().bos_token_id,
        "eos_token_id": tokenizer().eos_token_id,
        **FAMILIES[kind],
    }
    if sliding_window is not None:
        lm["sliding_window"] = sliding_window
        if kind.startswith("qwen"):
            lm |= {"use_sliding_window": True, "max_window_layers": 0}
    return LanguageConfig(
        lm=lm,
        prompt_width=64,
        seg_token=tokenizer().convert_tokens_to_ids("[SEG]"),
        stop_tokens=(tokenizer().eos_token_id,),
        max_new_tokens=24,
    )


def config(language: LanguageConfig | None = None) -> ModelConfig:
    """4 frames of 32 px for the LM (32 visual tokens; 16 for an image), SAM 2's modules with a narrow Hiera at 64 px."""
    language = language or language_config()
    overrides = narrow_sam(language.prompt_width, side=4)
    return ModelConfig(
        vision=VisionConfig(
            spatial=SpatialConfig(width=32, mlp_width=64, layers=3, heads=2, image_size=32, patch=8, projection=16),
            temporal=TemporalConfig(width=32, mlp_width=64, depth=3, heads=2, image_size=32, patch=8, chunk=2, layer_scale=0.5),
            frames=4,
            spatial_pool=2,
            temporal_pool=2,
            adapter_width=language.width,
        ),
        language=language,
        pixel=replace(
            preset("tiny").pixel,
            overrides=overrides,
            prompt_width=language.prompt_width,
            image_size=64,
            longest=64,
            chunk=3,
            cache=16,
            anchors=3,
        ),
        name="fake",
    )


@torch.inference_mode(False)
def model(configured: ModelConfig | None = None, *, seed: int = 0) -> VideoGLaMM:
    """Random weights, in eval mode; the objectness head is biased so that objects are mostly there, and not always."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = VideoGLaMM(configured or config()).eval()
        with torch.no_grad():
            head = made.pixel.sam.sam_mask_decoder.pred_obj_score_head.layers[-1]
            head.weight.mul_(8)
            head.bias.fill_(2.0)
    return made


@cache
@torch.inference_mode(False)  # whoever asks first
@torch.enable_grad()
def talker() -> VideoGLaMM:
    """A model that was taught to answer ``ANSWER`` whatever it sees and is asked. Shared by all tests: do not change it."""
    made = model()
    language, scribe = made.language.train(), Scribe(tokenizer(), made.config.language)
    noise = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(language.parameters(), 4e-3)
    for step in range(220):
        image = step % 4 == 3
        visual, frames = (16, 0) if image else (32, 4)
        asked = "".join(chr(97 + int(i)) for i in torch.randint(26, (3 + 7 * step % 41,), generator=noise))
        turns = [(asked, ANSWER)] * (1 + step % 2)
        dialogue = scribe.teach(turns, visual=visual, frames=frames)
        tokens = torch.randn(visual, language.config.width, generator=noise) * float(torch.rand((), generator=noise))
        ids = torch.from_numpy(dialogue.ids)[None]
        hidden = language(ids, torch.ones_like(ids), [tokens], [dialogue.start])
        loss = functional.cross_entropy(language.logits(hidden)[0, :-1], torch.from_numpy(dialogue.labels)[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 220)
        optimizer.step()
    language.eval().requires_grad_(False)
    return made


@cache
@torch.inference_mode(False)
def golden_pixel() -> tuple[Pixel, NDArray[np.float32]]:
    """The pixel part of the published random weights, which follow prompts and pictures more than fresh ones do, and six of its
    prompts float32[6, 64]; the first is absent on frame 0. Shared by all tests: do not change it."""
    from tests.parity.golden_config import model_config

    weights = load_file(ASSETS / "golden" / "weights.safetensors")
    configured = model_config(json.loads((ASSETS / "golden_long" / "config.json").read_text()))
    part = Pixel(configured.pixel)
    names = translate(weights, rules(configured))
    part.load_state_dict({ours[6:]: weights[theirs] for theirs, ours in names.items() if ours and ours.startswith("pixel.")})
    expected = load_file(ASSETS / "golden_long" / "expected.safetensors")
    return part.eval().requires_grad_(False), expected["generate.seg_embeds"].numpy()


def video(frames: int = 12, height: int = 48, width: int = 64, *, seed: int = 0) -> NDArray[np.uint8]:
    """uint8[F, H, W, 3]: a bright square that crosses a noisy ground from left to right."""
    noise = np.random.default_rng(seed)
    out = noise.integers(0, 90, (frames, height, width, 3)).astype(np.uint8)
    side = height // 3
    for f in range(frames):
        left = f * (width - side) // max(frames - 1, 1)
        out[f, side : 2 * side, left : left + side] = (250, 220 - 4 * f % 99, 30)
    return out
