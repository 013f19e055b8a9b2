"""Writing an answer: prefill once, then one token a step from the cache, for a batch of left-padded prompts.

Of each step only the last hidden state is kept, since the state that predicts ``[SEG]`` becomes its prompt. Shapes: see
:mod:`vglamm.model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vglamm.errors import DialogueError
from vglamm.language.lm import Language


@dataclass(frozen=True)
class Written:
    """One step of B answers: token ids int64[B] (-1 in rows that had ended), the hidden states float[B, D] that predicted them,
    the logits float[B, V] they came from."""

    ids: Tensor
    hidden: Tensor
    logits: Tensor


def pad_left(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs float[L_b, D] -> float[B, L, D] with zeros on the left, and their mask int64[B, L]."""
    longest = max(len(row) for row in rows)
    inputs = torch.stack([torch.cat([row.new_zeros(longest - len(row), row.shape[1]), row]) for row in rows])
    mask = torch.stack([torch.cat([torch.zeros(longest - len(row)), torch.ones(len(row))]) for row in rows])
    return inputs, mask.long().to(inputs.device)


def write(
    language: Language,
    rows: list[Tensor],
    *,
    limit: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[Written]:
    """Steps of the answers to prompts float[L_b, D] (ids embedded, visual tokens fused), until all have ended or ``limit``.

    A row ends with the first of ``language.config.stop_tokens``, which is part of the steps. temperature 0 is greedy; above 0,
    each row draws with a generator of its own, seeded by ``seed`` alone, so that it draws the same in any batch.
    """
    if temperature < 0:
        raise DialogueError(f"temperature {temperature}", "0 (greedy) or more", "pass a temperature >= 0")
    inputs_BLD, mask_BL = pad_left(rows)
    hidden_BLD, cache = language.prefill(inputs_BLD, mask_BL)
    assert cache is not None
    stops = torch.tensor(language.config.stop_tokens, device=inputs_BLD.device)
    generators = [torch.Generator(device="cpu").manual_seed(seed) for _ in rows]
    alive = torch.ones(len(rows), dtype=torch.bool, device=inputs_BLD.device)
    hidden_BD = hidden_BLD[:, -1]
    for step in range(limit):
        logits_BV = language.logits(hidden_BD)
        ids_B = _choose(logits_BV, temperature, generators)
        yield Written(torch.where(alive, ids_B, -1), hidden_BD, logits_BV)
        alive = alive & ~torch.isin(ids_B, stops)
        if not alive.any() or step + 1 == limit:
            return
        mask_BL = torch.cat([mask_BL, mask_BL.new_ones(len(rows), 1)], dim=1)
        hidden_BD = language.extend(ids_B[:, None], mask_BL, cache)[:, -1]


def _choose(logits_BV: Tensor, temperature: float, generators: list[torch.Generator]) -> Tensor:
    if temperature == 0:
        return logits_BV.argmax(-1)
    chances = torch.softmax(logits_BV.float() / temperature, dim=-1).cpu()
    drawn = [torch.multinomial(row_V, 1, generator=generator) for row_V, generator in zip(chances, generators, strict=True)]
    return torch.cat(drawn).to(logits_BV.device)
