"""The released checkpoint's own settings -> our config. Sizes of the vocabulary are taken from the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vglamm.checkpoint import load_tokenizer
from vglamm.config import ModelConfig
from vglamm.errors import CheckpointError
from vglamm.source import TOKENIZER_FILES
from vglamm.tensors import Shape

FAMILIES = ("phi3", "llama", "qwen2", "qwen3", "mistral")
LM_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "partial_rotary_factor",
    "hidden_act",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)


def release_config(folder: Path, shapes: Mapping[str, Shape], sizes: ModelConfig) -> ModelConfig:
    """config.json, generation_config.json and tokenizer of a released ``folder``, with the towers and SAM of ``sizes``."""
    told = _json(folder / "config.json")
    if not told:
        raise CheckpointError(f"{folder} without config.json", "a released checkpoint", "fetch the whole folder")
    words = _words(folder)
    lm = {field: told[field] for field in LM_FIELDS if field in told}
    lm["model_type"] = _family(told, shapes)
    lm["vocab_size"] = _rows(shapes, "model.embed_tokens.weight")
    language = replace(
        sizes.language,
        lm=lm,
        prompt_width=_rows(shapes, "model.text_hidden_fcs.0.2.weight"),
        seg_token=_seg(told, words),
        stop_tokens=_stops(told, _json(folder / "generation_config.json"), words),
        wrap_visual=bool(told.get("mm_use_im_start_end", False)),
        lora=None,
        quantise=None,
    )
    return replace(sizes, language=language)


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise CheckpointError(f"{file}, which is no JSON ({error})", "JSON", "fetch it again") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{file}, which holds a {type(tree).__name__}", "a JSON object", "fetch it again")
    return tree


def _words(folder: Path) -> dict[str, int]:
    """The tokenizer's vocabulary, empty if there is no tokenizer."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return {}
    return dict(load_tokenizer(folder).get_vocab())


def _family(told: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str:
    named = str(told.get("model_type", "")).lower().replace("_", "").replace("-", "")
    for family in FAMILIES:
        if family in named:
            return family
    if "model.layers.0.self_attn.qkv_proj.weight" in shapes:  # of these families only Phi-3 fuses the three
        return "phi3"
    raise CheckpointError(
        f"model_type {told.get('model_type')!r}", f"a name with one of {', '.join(FAMILIES)}", "fix model_type in config.json"
    )


def _rows(shapes: Mapping[str, Shape], name: str) -> int:
    if name not in shapes:
        raise CheckpointError(f"a checkpoint without {name}", "the released model's tensors", "is this another model?")
    return shapes[name][0]


def _seg(told: Mapping[str, Any], words: Mapping[str, int]) -> int:
    found = words.get("[SEG]", told.get("seg_token_idx"))
    if found is None:
        raise CheckpointError(
            "no id of [SEG]", "a tokenizer with [SEG], or seg_token_idx in config.json", "add the tokenizer's files"
        )
    return int(found)


def _stops(told: Mapping[str, Any], generation: Mapping[str, Any], words: Mapping[str, int]) -> tuple[int, ...]:
    """``<|end|>`` and every stop id of the generation config, or of the config where there is none."""
    given = generation.get("eos_token_id", told.get("eos_token_id"))
    stops = set(given if isinstance(given, list) else [given])
    stops = {int(stop) for stop in (*stops, words.get("<|end|>")) if stop is not None}
    if not stops:
        raise CheckpointError("no id that ends an answer", "eos_token_id or a tokenizer with <|end|>", "add generation_config.json")
    return tuple(sorted(stops))
