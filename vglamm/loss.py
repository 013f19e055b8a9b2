"""The training loss: cross-entropy on the answers, binary cross-entropy and Dice on the masks (arXiv 2411.04923, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vglamm.language.lm import Language
from vglamm.model import Batch, Output
from vglamm.pixel.decoder import to_source

IGNORED = -100
DICE_SCALE = 1000.0
EPSILON = 1e-6


@dataclass(frozen=True)
class Weights:
    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5


@dataclass(frozen=True)
class Totals:
    """What the sums are divided by: supervised tokens and masks x frames of the *global* batch (all micro-batches and ranks of a
    step), so that cutting a batch differently does not change the loss."""

    tokens: float
    mask_frames: float


@dataclass(frozen=True)
class Losses:
    """Weighted terms and their sum; each a float32 scalar."""

    total: Tensor
    ce: Tensor
    bce: Tensor
    dice: Tensor


def count(batch: Batch) -> Totals:
    """Supervised tokens and masks x frames of one batch."""
    return Totals(float((batch.labels_RL[:, 1:] != IGNORED).sum()), float(sum(len(mask) for mask in batch.masks)))


def text_loss(language: Language, hidden_RLD: Tensor, labels_RL: Tensor) -> Tensor:
    """Summed cross-entropy in float32; logits are made at supervised positions alone."""
    targets = labels_RL[:, 1:]
    chosen = targets != IGNORED
    logits = language.logits(hidden_RLD[:, :-1][chosen]).float()
    return functional.cross_entropy(logits, targets[chosen], reduction="sum")


def mask_loss(logits_KHW: Tensor, target_KHW: Tensor) -> tuple[Tensor, Tensor]:
    """Summed BCE (per mask the mean over pixels) and Dice of K masks at target size.

    Dice is ``1 - (2 sum(pt) / 1000 + 1e-6) / (sum(p) / 1000 + sum(t) / 1000 + 1e-6)``. Pixels of -1 add nothing but stay in the
    mean.
    """
    valid = (target_KHW >= 0).to(logits_KHW.dtype)
    target = target_KHW.clamp(min=0).to(logits_KHW.dtype)
    bce = functional.binary_cross_entropy_with_logits(logits_KHW, target, reduction="none") * valid
    chance = (logits_KHW.sigmoid() * valid).flatten(1)
    flat = (target * valid).flatten(1)
    both = 2 * (chance / DICE_SCALE * flat).sum(1)
    dice = 1 - (both + EPSILON) / ((chance / DICE_SCALE).sum(1) + (flat / DICE_SCALE).sum(1) + EPSILON)
    return bce.flatten(1).mean(1).sum(), dice.sum()


def losses(language: Language, output: Output, batch: Batch, weights: Weights = Weights(), totals: Totals | None = None) -> Losses:
    """``totals`` of the global batch; None takes this batch alone, which equals the published loss."""
    totals = totals or count(batch)
    ce = text_loss(language, output.hidden_RLD, batch.labels_RL) / max(totals.tokens, 1.0)
    bce = dice = output.ghost.float()
    for logits, target in zip(output.masks, batch.masks, strict=True):
        one_bce, one_dice = mask_loss(to_source(logits.masks, (target.shape[-2], target.shape[-1])), target)
        bce, dice = bce + one_bce, dice + one_dice
    share = totals.mask_frames + 1e-8
    ce, bce, dice = weights.ce * ce, weights.bce * bce / share, weights.dice * dice / share
    return Losses(torch.stack([ce, bce, dice]).sum(), ce, bce, dice)
