"""Paints drafts along their routes: first the id map, then the colours, each object only inside its own box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.plan import Draft, Route
from vglamm.data.world.sprites import shape_sprite, source_size, thing_sprite, warp


@dataclass(frozen=True)
class Stamp:
    """One picture at one place: object id, frame, top-left corner, and the premultiplied patch uint8[h, w, 4] inside the frame."""

    id: int
    frame: int
    top: int
    left: int
    patch: NDArray[np.uint8]


def stamps(drafts: list[Draft], routes: list[Route], size: int) -> list[Stamp]:
    """All pictures to put down, frame by frame from back to front within each object; patches are cut at the frame's edge."""
    out: list[Stamp] = []
    for number, (draft, route) in enumerate(zip(drafts, routes, strict=True), start=1):
        source = source_size(float(route.diameters.max()))
        if draft.colour and draft.texture:
            sprite = shape_sprite(draft.noun, draft.colour, draft.texture, draft.hue, draft.gain, source)
        else:
            sprite = thing_sprite(draft.noun, draft.flip, draft.hue, draft.gain, source)
        shown: tuple[float, float] | None = None
        for frame in np.flatnonzero(route.present):
            look = float(route.diameters[frame]), float(route.angles[frame])
            if look != shown:
                whole, shown = warp(sprite, *look), look
            n = whole.shape[0]
            left, top = (int(np.rint(c - n / 2)) for c in route.centres[frame])
            patch = whole[max(0, -top) : max(0, size - top), max(0, -left) : max(0, size - left)]
            if patch.size:
                out.append(Stamp(number, int(frame), max(0, top), max(0, left), patch))
    return out


def paint_ids(pictures: list[Stamp], frames: int, size: int) -> NDArray[np.uint8]:
    """uint8[F, size, size]: for each pixel the object in front whose picture covers at least half of it, 0 for none."""
    ids = np.zeros((frames, size, size), np.uint8)
    for stamp in pictures:
        height, width = stamp.patch.shape[:2]
        view = ids[stamp.frame, stamp.top : stamp.top + height, stamp.left : stamp.left + width]
        view[stamp.patch[..., 3] >= 128] = stamp.id
    return ids


def paint_colours(pictures: list[Stamp], frames: NDArray[np.uint8]) -> None:
    """Composes the pictures over ``frames`` (uint8[F, H, W, 3]) in place."""
    for stamp in pictures:
        height, width = stamp.patch.shape[:2]
        view = frames[stamp.frame, stamp.top : stamp.top + height, stamp.left : stamp.left + width]
        alpha = stamp.patch[..., 3:].astype(np.uint16)
        behind = view * (256 - alpha - (alpha >> 7)) >> 8  # 255 hides all, 0 nothing
        view[:] = np.minimum(behind + stamp.patch[..., :3], 255)
