"""From mask logits to what leaves the pixel part: RLE, box and score of each object on a frame."""

from __future__ import annotations

import torch

from vglamm.media import rle
from vglamm.pixel.decoder import MaskLogits, to_source
from vglamm.records import Sight

Row = tuple[int, list[Sight]]
"""A grounding frame's position, and one sight for each object."""


def look(logits: MaskLogits, size: tuple[int, int]) -> list[Sight]:
    """P sights at source size (H, W). The mask is where the logit, resized, is > 0; the score is the sigmoid of the objectness.

    Masks are resized and encoded one at a time: at source size a single one may take megabytes.
    """
    scores = torch.sigmoid(logits.objectness.float()).tolist()
    sights = []
    for mask, score in zip(logits.masks, scores, strict=True):
        inside = (to_source(mask[None], size) > 0).cpu().numpy()
        [code] = rle.encode(inside)
        [box] = rle.boxes([code])
        sights.append(Sight(code, box, score))
    return sights
