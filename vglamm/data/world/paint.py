"""Paints drafts along their routes: first the id map, then the colours, each object only inside its own box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.plan import Draft, Route
from vglamm.data.world.sprites import shape_sprite, source_size, thing_sprite, warp


@dataclass(frozen=True)
class Stamp:
    """One picture at one place: object id, frame, top-left corner, and the part of it inside the frame.

    colour: uint8[h, w, 3], multiplied by alpha. solid: bool[h, w], at least half covered. through: uint16[h, w, 3], how much
    of the background shows, of 256.
    """

    id: int
    frame: int
    top: int
    left: int
    colour: NDArray[np.uint8]
    solid: NDArray[np.bool_]
    through: NDArray[np.uint16]


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
                layers, shown = _layers(warp(sprite, *look)), look
            n = len(layers[0])
            x, y = route.centres[frame].tolist()
            left, top = round(x - n / 2), round(y - n / 2)
            inside = slice(max(0, -top), max(0, size - top)), slice(max(0, -left), max(0, size - left))
            colour, solid, through = layers
            if solid[inside].size:
                cut = colour[inside], solid[inside], through[inside]
                out.append(Stamp(number, int(frame), max(0, top), max(0, left), *cut))
    return out


def _layers(patch: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint16]]:
    """colour, solid and through of a Stamp, from a premultiplied patch uint8[n, n, 4]."""
    alpha = patch[..., 3]
    through = 256 - alpha.astype(np.uint16) - (alpha >> 7)  # alpha 255 hides all, 0 nothing
    return np.ascontiguousarray(patch[..., :3]), alpha >= 128, np.repeat(through[..., None], 3, axis=2)


def paint_ids(pictures: list[Stamp], frames: int, size: int) -> NDArray[np.uint8]:
    """uint8[F, size, size]: for each pixel the object in front whose picture covers at least half of it, 0 for none."""
    ids = np.zeros((frames, size, size), np.uint8)
    for stamp in pictures:
        height, width = stamp.solid.shape
        view = ids[stamp.frame, stamp.top : stamp.top + height, stamp.left : stamp.left + width]
        np.copyto(view, stamp.id, where=stamp.solid, casting="unsafe")
    return ids


def paint_colours(pictures: list[Stamp], frames: NDArray[np.uint8]) -> None:
    """Composes the pictures over ``frames`` (uint8[F, H, W, 3]) in place."""
    for stamp in pictures:
        height, width = stamp.solid.shape
        view = frames[stamp.frame, stamp.top : stamp.top + height, stamp.left : stamp.left + width]
        behind = view * stamp.through
        behind >>= 8
        behind += stamp.colour  # at most 255, because the colour is never above its alpha
        view[:] = behind
