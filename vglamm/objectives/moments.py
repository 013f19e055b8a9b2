"""Which frame a visual token is of: what "when is it visible?" is answered from, and nothing but a token's position tells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vglamm.language.lm import Language
from vglamm.vision.config import VisionConfig


def frame_numbers(vision: VisionConfig) -> Tensor:
    """int64[N]: the frame of each visual token of a video, as :class:`vglamm.vision.encoder.Vision` lays them out."""
    sides = (vision.spatial_pool, vision.temporal_pool)
    return torch.cat([torch.arange(vision.frames).repeat_interleave(side**2) for side in sides])


def frames_said(
    language: Language, vision: VisionConfig, halfway: Tensor, items: Sequence[dict[str, Tensor]], digits: list[int]
) -> Tensor:
    """Cross-entropy, summed over all tokens of videos that show something of an object: each says the number of its frame, by the
    words of the head half way through the layers, so that the other half can read it.

    halfway: float[B, L, D]. items: ``start``, ``shown`` and ``image`` of each row. digits: ids of the numbers of frames.
    """
    numbers = frame_numbers(vision).to(halfway.device)
    hidden, frames = [halfway[:0, 0]], [numbers[:0]]
    for row, item in enumerate(items):
        if len(item["shown"]) == len(numbers) and not bool(item["image"]):  # not blind
            start = int(item["start"])
            hidden.append(halfway[row, start : start + len(numbers)][item["shown"]])
            frames.append(numbers[item["shown"]])
    head = language.lm.get_output_embeddings().weight[digits]
    return functional.cross_entropy(
        functional.linear(language.trunk.norm(torch.cat(hidden)), head).float(), torch.cat(frames), reduction="sum"
    )
