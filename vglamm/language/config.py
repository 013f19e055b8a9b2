"""Sizes and tokens of the language part. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vglamm.errors import ConfigError


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (peft) on the linear layers whose names end with one of ``targets``."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("qkv_proj",)


@dataclass(frozen=True)
class LanguageConfig:
    """Any causal LM of ``transformers`` and the projector from its hidden states to prompts.

    lm: the LM's own ``config.json`` as a dict with ``model_type``; sizes are taken from it. prompt_width: C, width of a prompt
    for the pixel part. seg_token: id of ``[SEG]``. stop_tokens: ids that end an answer. wrap_visual: put ``<vid_start>`` ..
    ``<vid_end>`` (``<im_start>`` .. ``<im_end>``) around the visual tokens, as some checkpoints want
    (``mm_use_im_start_end``). quantise: "8bit" or "4bit" loads the LM's linear layers through bitsandbytes.
    """

    lm: dict[str, Any] = field(default_factory=dict)
    prompt_width: int = 256
    seg_token: int = 32011
    stop_tokens: tuple[int, ...] = (32000, 32001, 32007)
    wrap_visual: bool = False
    max_new_tokens: int = 512
    lora: LoraSettings | None = None
    quantise: str | None = None

    def __post_init__(self) -> None:
        for key in ("model_type", "hidden_size", "vocab_size"):
            if key not in self.lm:
                raise ConfigError(f"an lm config without {key!r}", "a transformers config", f"add {key!r} to language.lm")
        for key in ("hidden_size", "vocab_size", "max_position_embeddings"):
            if not isinstance(self.lm.get(key, 0), int):
                raise ConfigError(f"language.lm.{key}={self.lm[key]!r}", "a whole number", "fix config.json")
        if not 0 <= self.seg_token < self.vocab:
            raise ConfigError(
                f"[SEG] id {self.seg_token}", f"an id below the vocabulary of {self.vocab}", "resize the vocabulary or fix the id"
            )
        if self.quantise not in (None, "8bit", "4bit"):
            raise ConfigError(f"quantise={self.quantise!r}", "None, '8bit' or '4bit'", "choose one of them")

    @property
    def width(self) -> int:
        """D."""
        return int(self.lm["hidden_size"])

    @property
    def vocab(self) -> int:
        return int(self.lm["vocab_size"])

    @property
    def context(self) -> int:
        """Longest sequence in tokens, the visual ones included."""
        return int(self.lm.get("max_position_embeddings", 4096))
