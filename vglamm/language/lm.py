"""The language part: a causal LM of transformers and the projector from its hidden states to prompts.

Shapes: see :mod:`vglamm.model`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PretrainedConfig

from vglamm.errors import ConfigError
from vglamm.language.cache import new_cache
from vglamm.language.config import LanguageConfig

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Names under which transformers' configs hold how many there are."""


def lm_config(config: LanguageConfig) -> PretrainedConfig:
    """The LM's transformers config.

    Phi-3 was released against transformers 4.41, where a sliding window of w shows a position itself and the w before it;
    transformers 5 counts the position itself, so it is given w + 1.
    """
    tree = dict(config.lm)
    kind = tree.pop("model_type")
    if kind == "phi3" and tree.get("sliding_window") is not None:
        tree["sliding_window"] += 1
    try:
        return AutoConfig.for_model(kind, **tree)
    except ValueError as error:
        raise ConfigError(f"model_type {kind!r}", "a causal LM that transformers knows", "fix language.lm.model_type") from error


class Projector(nn.Module):
    """Hidden states -> prompts: Linear, ReLU, Linear."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, out)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.fc2(functional.relu(self.fc1(hidden)))  # type: ignore[no-any-return]


class Language(nn.Module):
    """Phases: ``embed`` and ``fuse`` (ids and visual tokens to inputs), ``prefill`` and ``extend`` (inputs to hidden states and
    cache), ``logits``, ``prompts_at`` (hidden states to prompts)."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.lm = AutoModelForCausalLM.from_config(lm_config(config), attn_implementation="sdpa")
        self.projector = Projector(config.width, config.prompt_width)
        if config.lora is not None:
            self._add_lora()

    def _add_lora(self) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        lora = self.config.lora
        assert lora is not None
        settings = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets), bias="none"
        )
        try:
            inject_adapter_in_model(settings, self.lm)
        except ValueError as error:
            raise ConfigError(
                f"LoRA targets {lora.targets}", "names of linear layers in this LM", "fix language.lora.targets"
            ) from error

    @property
    def trunk(self) -> Any:
        """The LM without its head."""
        return self.lm.base_model

    @property
    def steady(self) -> bool:
        """Whether what is known of a position stays the same, at the same price, whatever comes after it in the same pass.

        Rotary embeddings of some kinds are others for all once a position lies beyond the length that the LM was first trained for;
        learned positions end. Of bitsandbytes' kernels, those of 8 bits treat all rows by the outliers of any, and those of 4 bits
        are fast for one row alone. float16 overflows, and a value that is no number spoils positions that give it no weight. Of a
        mixture of experts, each position may read others.
        """
        half = self.lm.get_input_embeddings().weight.dtype == torch.float16
        if self.config.quantise is not None or half or any(getattr(self.lm.config, name, None) for name in _EXPERTS):
            return False
        rope = getattr(self.lm.config, "rope_parameters", None)
        if not rope:
            return False
        layers = rope.values() if all(isinstance(value, dict) for value in rope.values()) else [rope]
        return all(kind.get("rope_type", "default") not in ("dynamic", "longrope") for kind in layers)

    def embed(self, ids_BL: Tensor) -> Tensor:
        """Token ids int64[B, L] -> float[B, L, D]."""
        return self.lm.get_input_embeddings()(ids_BL)  # type: ignore[no-any-return]

    def fuse(self, embedded_BLD: Tensor, tokens: list[Tensor], starts: list[int]) -> Tensor:
        """Put each row's visual tokens float[N, D] over its placeholders, which begin at ``starts``."""
        rows = []
        for row_LD, visual_ND, start in zip(embedded_BLD, tokens, starts, strict=True):
            stop = start + len(visual_ND)
            rows.append(torch.cat([row_LD[:start], visual_ND.to(row_LD.dtype), row_LD[stop:]]))
        return torch.stack(rows)

    def prefill(self, inputs_BLD: Tensor, mask_BL: Tensor, *, cached: bool = True) -> tuple[Tensor, DynamicCache | None]:
        """Hidden states float[B, L, D] of whole sequences (padding where ``mask_BL`` is 0, on either side) and their cache."""
        positions = (mask_BL.long().cumsum(-1) - 1).clamp(min=0)
        cache = new_cache(self.lm.config) if cached else None
        out = self.trunk(
            inputs_embeds=inputs_BLD, attention_mask=mask_BL.long(), position_ids=positions, past_key_values=cache, use_cache=cached
        )
        return out.last_hidden_state, cache

    def extend(self, ids_BL: Tensor, mask_BM: Tensor, cache: DynamicCache) -> Tensor:
        """Hidden states float[B, L, D] of L further tokens. ``mask_BM`` covers everything in the cache and the new tokens."""
        new = ids_BL.shape[1]
        positions = (mask_BM.long().cumsum(-1) - 1)[:, -new:].clamp(min=0)
        out = self.trunk(
            inputs_embeds=self.embed(ids_BL),
            attention_mask=mask_BM.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def branched(self, inputs_BLD: Tensor, seen_BLL: Tensor, positions_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states float[B, L, D] of packed dialogues (:mod:`vglamm.language.branches`), the last and those half way through
        the layers. seen: bool[B, 1, L, L]."""
        out = self.trunk(
            inputs_embeds=inputs_BLD, attention_mask=seen_BLL, position_ids=positions_BL, use_cache=False, output_hidden_states=True
        )
        return out.last_hidden_state, out.hidden_states[len(out.hidden_states) // 2]

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states float[..., D] -> float[..., V]."""
        return self.lm.get_output_embeddings()(hidden)  # type: ignore[no-any-return]

    def prompts_at(self, hidden_XD: Tensor) -> Tensor:
        """Hidden states that predict ``[SEG]``, float[S, D] -> prompts float[S, C] for the pixel part."""
        return self.projector(hidden_XD)  # type: ignore[no-any-return]

    def forward(self, ids_BL: Tensor, mask_BL: Tensor, tokens: list[Tensor], starts: list[int]) -> Tensor:
        """The teacher-forced path: hidden states float[B, L, D] of whole dialogues."""
        hidden_BLD, _ = self.prefill(self.fuse(self.embed(ids_BL), tokens, starts), mask_BL, cached=False)
        return hidden_BLD
