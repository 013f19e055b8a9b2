"""From mask logits to what leaves the pixel part: RLE, box and score of each object on a frame, and tracks made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vglamm.media import rle
from vglamm.pixel.decoder import MaskLogits, to_source
from vglamm.records import Sight, Track


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


def tracks(rows: Sequence[Sequence[Sight]], objects: int) -> tuple[Track, ...]:
    """rows: for each grounding frame the sights of all objects. Returns one track for each object."""
    return tuple(_track([row[s] for row in rows]) for s in range(objects))


def _track(sights: list[Sight]) -> Track:
    seen = [k for k, sight in enumerate(sights) if sight.rle is not None]
    return Track(
        rle=tuple(sight.rle for sight in sights),
        boxes=tuple(sight.box for sight in sights),
        scores=tuple(sight.score for sight in sights),
        score=sum(sights[k].score for k in seen) / len(seen) if seen else 0.0,
        first=seen[0] if seen else None,
        last=seen[-1] if seen else None,
    )
