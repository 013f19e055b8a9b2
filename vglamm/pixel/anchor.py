"""From prompts to sights on every grounding frame, in three ways.

``frames``: every frame by itself. ``video``: from frame 0 through memory, as published (:class:`vglamm.pixel.abreast.Trail`).
``anchor``: every object starts on the
frame where it is seen best, and is carried both ways from there; an object that enters late is found, which the published rule,
prompting frame 0 alone, cannot do. All are iterators over (position, one sight for each object) in order of position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vglamm.errors import ConfigError
from vglamm.media.sample import evenly
from vglamm.pixel.abreast import Trail
from vglamm.pixel.decoder import MaskLogits, Pixel
from vglamm.pixel.footage import Footage
from vglamm.pixel.sight import Row, look
from vglamm.pixel.track import Tracker
from vglamm.records import Sight


def by_frame(pixel: Pixel, footage: Footage, prompts_SC: Tensor) -> Iterator[Row]:
    """Every object on every frame, without memory. As published, masks are not gated by the objectness here."""
    objects = len(prompts_SC)
    for start, features in footage.batches(0, footage.frames):
        frames_P = torch.arange(len(features), device=prompts_SC.device).repeat_interleave(objects)
        logits = pixel.masks(features, prompts_SC.repeat(len(features), 1), frames_P)
        for k in range(len(features)):
            mine = slice(k * objects, (k + 1) * objects)
            yield start + k, look(MaskLogits(logits.masks[mine], logits.objectness[mine], logits.iou[mine]), footage.size)


def by_anchor(pixel: Pixel, footage: Footage, prompts_SC: Tensor) -> Iterator[Row]:
    """Every object from its best anchor both ways; objects with the same anchor share a tracker each way.

    The way back runs first, and only its sights are kept, so that rows can then leave in order. Both ways start from the same
    prompted frame and know nothing of each other.
    """
    starts = best_anchors(pixel, footage, prompts_SC)
    groups = {start: [s for s, own in enumerate(starts) if own == start] for start in sorted(set(starts))}
    before = _backwards(pixel, footage, prompts_SC, groups)
    first = min(groups)
    for k in range(first):
        yield k, _row(before.pop(k), len(starts))
    trackers: dict[int, Tracker] = {}
    for k, features in footage.forwards(first):
        seen = before.pop(k, {})
        for start, members in groups.items():
            if start == k:
                trackers[start] = Tracker(pixel, prompts_SC[members], footage.frames)
            if start <= k:
                seen |= zip(members, look(trackers[start].step(features, k), footage.size), strict=True)
        yield k, _row(seen, len(starts))


def best_anchors(pixel: Pixel, footage: Footage, prompts_SC: Tensor) -> list[int]:
    """For each object the anchor frame with the highest objectness when prompted there without memory; the earliest of equals.

    Anchors are ``config.anchors`` frames spread evenly over the sequence, both ends included.
    """
    positions = evenly(footage.frames, min(pixel.config.anchors, footage.frames))
    scores = []
    for k, features in footage.at(positions):
        scores.append(Tracker(pixel, prompts_SC, footage.frames).step(features, k).objectness.float().cpu().numpy())
    return [positions[int(best)] for best in np.argmax(np.stack(scores), axis=0)]  # numpy's argmax is the first of equals


def _backwards(pixel: Pixel, footage: Footage, prompts_SC: Tensor, groups: dict[int, list[int]]) -> dict[int, dict[int, Sight]]:
    """position -> object -> its sight, for every frame before the object's anchor."""
    before: dict[int, dict[int, Sight]] = {}
    trackers: dict[int, Tracker] = {}
    if not any(groups):
        return before  # every object starts on frame 0
    for k, features in footage.backwards(max(groups)):
        for start, members in groups.items():
            if start == k and start > 0:
                trackers[start] = Tracker(pixel, prompts_SC[members], footage.frames, reverse=True)
                trackers[start].step(features, k)
            elif start > k:
                sights = look(trackers[start].step(features, k), footage.size)
                before.setdefault(k, {}).update(zip(members, sights, strict=True))
    return before


def _row(seen: dict[int, Sight], objects: int) -> list[Sight]:
    return [seen[s] for s in range(objects)]


MODES: dict[str, Callable[[Pixel, Footage, Tensor], Iterator[Row]]] = {"frames": by_frame, "video": Trail, "anchor": by_anchor}


def check_mode(mode: str) -> str:
    """``mode`` if there is such a one, else ConfigError."""
    if mode not in MODES:
        raise ConfigError(f"mode {mode!r}", f"one of {', '.join(MODES)}", "choose one of them")
    return mode
