"""What the prompts and the words of a language model that learns are worth, by kind of question. Items: see
:class:`vglamm.objectives.questions.QuestionPreparer`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vglamm.data.world.words import KINDS
from vglamm.objectives.segmentation import mean_of


def judged(prompts: list[Tensor], items: list[dict[str, Tensor]], meant: str, kinds: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of all prompts against the codes of what they mean, summed over prompts and averaged over a code's numbers; and
    of each kind of question how many have, of all codes of their scene, the right one nearest.

    prompts: float[S, C] of each item. meant, kinds: what the items call the objects int64[S] and kinds int64[S] of these prompts.
    """
    error = prompts[0].sum() * 0
    hits: dict[int, list[bool]] = {}
    for found_SC, item in zip(prompts, items, strict=True):
        apart_SO = (found_SC[:, None] - item["codes"]).square().mean(-1)
        meant_S = item[meant]
        error = error + apart_SO.gather(1, meant_S[:, None]).sum()
        for kind, hit in zip(item[kinds].tolist(), (apart_SO.argmin(1) == meant_S).tolist(), strict=True):
            hits.setdefault(kind, []).append(hit)
    return error, {KINDS[kind]: mean_of(torch.tensor(some)) for kind, some in hits.items()}


def exact(batch: dict[str, Any], said: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """By kind, one-turn answers whose every token is the most likely one, which greedy decoding would write, and all.

    said: int64, the most likely tokens where ``wanted`` bool[B, L].
    """
    right = torch.ones_like(wanted)
    right[wanted] = said == batch["labels"][wanted]
    found: dict[str, list[bool]] = {}
    for row, item in enumerate(batch["items"]):
        for number, kind in enumerate(item["kinds"].tolist(), start=1):
            if kind >= 0:
                found.setdefault(KINDS[kind], []).append(bool(right[row][batch["branch"][row] == number].all()))
    return {f"exact_{kind}": mean_of(torch.tensor(hits)) for kind, hits in found.items()}
