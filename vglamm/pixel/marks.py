"""A mask corrected by hand: points or a box on one frame, through SAM 2's own prompt encoder, carried both ways from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vglamm.errors import MaskError
from vglamm.media import rle
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Footage
from vglamm.pixel.sight import Row, look
from vglamm.pixel.track import Clicks, Tracker
from vglamm.records import Marks

INSIDE, OUTSIDE = 10.0, -10.0
"""Logits by which SAM 2 tells a mask that is known to its prompt encoder."""
CORNERS = (2.0, 3.0)
"""Labels of SAM 2 for the upper left and the lower right corner of a box; 1 and 0 are points inside and outside."""


def clicks(pixel: Pixel, marks: Marks, size: tuple[int, int]) -> Clicks:
    """Marks in source pixels of a video of ``size`` (H, W). MaskError for one outside the picture.

    A box says all that is known of the object. Points amend the mask that was there before, if there was one.
    """
    height, width = size
    places = [(x, y) for x, y, _ in marks.points]
    labels = [float(inside) for _, _, inside in marks.points]
    if marks.box is not None:
        x0, y0, x1, y1 = marks.box
        places, labels = [(x0, y0), (x1, y1), *places], [*CORNERS, *labels]
    for x, y in places:
        if not (0 <= x <= width and 0 <= y <= height):
            raise MaskError(f"a mark at ({x:g}, {y:g})", f"one inside {width} x {height} pixels", "mark the picture itself")
    device, side = pixel.mean.device, pixel.config.image_size
    scale = torch.tensor([side / width, side / height], device=device)
    points = {
        "point_coords": torch.tensor(places, dtype=torch.float32, device=device)[None] * scale,
        "point_labels": torch.tensor(labels, dtype=torch.float32, device=device)[None],
    }
    return Clicks(points, None if marks.box is not None or marks.before is None else _logits(pixel, marks.before, size))


def _logits(pixel: Pixel, before: dict[str, Any], size: tuple[int, int]) -> Tensor:
    mask = torch.from_numpy(rle.decode([before], size)).float()[None].to(pixel.mean.device)
    small = functional.interpolate(
        mask, size=pixel.sam.sam_prompt_encoder.mask_input_size, mode="bilinear", align_corners=False, antialias=True
    )
    return small * (INSIDE - OUTSIDE) + OUTSIDE


def by_marks(pixel: Pixel, footage: Footage, marks: Marks) -> Iterator[Row]:
    """(position, [sight]) of the marked frame, then of those after it, then of those before it, backwards: what was marked is seen
    at once, and no sight waits for another. Both ways start from the same marks and know nothing of each other."""
    if not 0 <= marks.position < footage.frames:
        raise MaskError(f"marks on frame {marks.position}", f"0 to {footage.frames - 1}", "mark a grounding frame")
    for ways, reverse in ((footage.forwards(marks.position), False), (footage.backwards(marks.position), True)):
        if reverse and marks.position == 0:
            return
        tracker: Tracker | None = None
        for k, features in ways:
            tracker = tracker or Tracker(pixel, clicks(pixel, marks, footage.size), footage.frames, reverse=reverse)
            logits = tracker.step(features, k)
            if not (reverse and k == marks.position):
                yield k, look(logits, footage.size)
