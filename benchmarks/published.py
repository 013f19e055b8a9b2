"""Writing an answer the way the published code does (arXiv 2411.04923, code of March 2025).

Slow and obvious, the judge of the fast way: for every token both towers see all frames again and the language model reads the whole
prompt and the answer so far, without a cache, with logits at every position; one more pass only counts the visual tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vglamm.model import VideoGLaMM


def write(model: VideoGLaMM, spatial: Tensor, temporal: Tensor, ids_L: Tensor, start: int, limit: int) -> list[int]:
    """``limit`` greedy token ids. spatial, temporal: uint8[T, 3, h, w] of one video. ids_L: the prompt int64[L] without visual
    tokens, which go in before position ``start``."""
    visual = whole_pass(model, spatial, temporal, ids_L, start)[1]
    written: list[int] = []
    for _ in range(limit):
        so_far = torch.cat([ids_L, torch.tensor(written, dtype=torch.long)])
        logits_LV, count = whole_pass(model, spatial, temporal, so_far, start)
        assert count == visual
        written.append(int(logits_LV[-1].argmax()))
    return written


def whole_pass(model: VideoGLaMM, spatial: Tensor, temporal: Tensor, ids_L: Tensor, start: int) -> tuple[Tensor, int]:
    """Logits float[L + N, V] at every position, and the number N of visual tokens."""
    [visual_ND] = model.vision.encode([spatial], [temporal])
    whole = torch.cat([ids_L[:start], ids_L.new_zeros(len(visual_ND)), ids_L[start:]])[None]
    hidden_BLD = model.language(whole, torch.ones_like(whole), [visual_ND], [start])
    return model.language.logits(hidden_BLD)[0], len(visual_ND)
