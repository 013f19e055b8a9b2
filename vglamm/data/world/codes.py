"""Fixed codes for what a scene holds: the language in which the tiny model's parts are first taught to talk to each other.

Published parts come pre-trained; parts trained from nothing have to agree first on what a visual token and a prompt mean. Here a
code says it: looks, place and motion as one-hot or Fourier features, turned by a fixed random rotation. Vision is taught to write
token codes, language to read them and to write prompt codes, pixel to follow prompt codes; then they are trained together and may
leave the codes behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.scene import Scene, WorldObject
from vglamm.data.world.words import COLOURS, MOTIONS, SHAPES, TEXTURES, THINGS

Array = NDArray[np.float32]
NAME, PLACE = 64, 16
BLOCKS = {
    "present": 1,
    "colour": len(COLOURS),
    "shape": len(SHAPES),
    "texture": len(TEXTURES),
    "name": NAME,
    "place": PLACE,
    "motion": len(MOTIONS),
}
"""Blocks of a token code before its rotation and their widths."""
RAW = sum(BLOCKS.values())
PROMPT_NAME = 29
PROMPT_BLOCKS = {"colour": len(COLOURS), "shape": len(SHAPES), "texture": len(TEXTURES), "name": PROMPT_NAME, "place": PLACE}
PROMPT = sum(PROMPT_BLOCKS.values())
_COLOURS, _SEED = tuple(COLOURS), 20261122
_PLACE_WEIGHT = 0.5


@dataclass(frozen=True)
class Labels:
    """Attribute indices of one object; -1 where it has none."""

    colour: int
    shape: int
    texture: int
    name: int
    motion: int


def labels(item: WorldObject) -> Labels:
    shape = item.level == "shapes"
    return Labels(
        colour=_COLOURS.index(item.colour) if item.colour else -1,
        shape=SHAPES.index(item.noun) if shape else -1,
        texture=TEXTURES.index(item.texture) if item.texture else -1,
        name=-1 if shape else THINGS.index(item.noun),
        motion=MOTIONS.index(item.motion),
    )


@lru_cache(maxsize=4)
def name_codes(width: int) -> Array:
    """float32[names, width]: a unit vector for each thing, nearly orthogonal."""
    rng = np.random.default_rng((_SEED, width))
    vectors = rng.standard_normal((len(THINGS), width))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=4)
def rotation(width: int) -> Array:
    """float32[RAW, width]: orthonormal rows that spread a raw token code over ``width`` dimensions."""
    rng = np.random.default_rng((_SEED, width, 1))
    basis, _ = np.linalg.qr(rng.standard_normal((width, RAW)))
    return np.asarray(basis.T, dtype=np.float32)


def block(name: str) -> slice:
    """Where a block lies in a raw token code."""
    start = 0
    for known, width in BLOCKS.items():
        if known == name:
            return slice(start, start + width)
        start += width
    raise KeyError(name)


def place_code(x: Array, y: Array, diameter: Array) -> Array:
    """Fourier features float32[..., 16] of centre and diameter as shares of the frame's side."""
    waves = [f(np.pi * k * v) for v in (x, y) for k in (1, 2, 4) for f in (np.sin, np.cos)]
    waves += [f(np.pi * k * diameter * 2) for k in (1, 2) for f in (np.sin, np.cos)]
    return np.stack(waves, axis=-1).astype(np.float32) * np.float32(_PLACE_WEIGHT)


def _places(item: WorldObject, size: int) -> Array:
    side = np.float32(size)
    return place_code(item.centres[:, 0] / side, item.centres[:, 1] / side, item.diameters / side)


def _one(width: int, index: int) -> Array:
    out = np.zeros(width, np.float32)
    if index >= 0:
        out[index] = 1
    return out


def token_codes(item: WorldObject, size: int, *, temporal: bool) -> Array:
    """Raw codes float32[F, RAW] of an object in each frame. Spatial tokens tell looks and place, temporal ones colour, motion and
    place."""
    what = labels(item)
    code = np.zeros((len(item.centres), RAW), np.float32)
    code[:, block("present")] = 1
    code[:, block("colour")] = _one(len(COLOURS), what.colour)
    code[:, block("place")] = _places(item, size)
    if temporal:
        code[:, block("motion")] = _one(len(MOTIONS), what.motion)
        return code
    code[:, block("shape")] = _one(len(SHAPES), what.shape)
    code[:, block("texture")] = _one(len(TEXTURES), what.texture)
    if what.name >= 0:
        code[:, block("name")] = name_codes(NAME)[what.name]
    return code


def first_visible(scene: Scene, item: WorldObject) -> int:
    """The first frame of the LLM's frames that shows the object (the first of all if none does)."""
    seen = [int(f) for f in scene.llm_frames if item.visible[f]]
    return seen[0] if seen else 0


def prompt_code(scene: Scene, item: WorldObject) -> Array:
    """float32[64], about unit variance: what an object looks like and where it is when it is first visible."""
    what, frame = labels(item), first_visible(scene, item)
    looks = [_one(len(COLOURS), what.colour), _one(len(SHAPES), what.shape), _one(len(TEXTURES), what.texture)]
    name = name_codes(PROMPT_NAME)[what.name] * 1.5 if what.name >= 0 else np.zeros(PROMPT_NAME, np.float32)
    return np.concatenate([*looks, name, _places(item, scene.id_map.shape[1])[frame] * 2]) * np.float32(2.5)


def owners(id_map: NDArray[np.uint8], grid: int, least: float = 0.25) -> NDArray[np.uint8]:
    """id_map: uint8[F, H, W] -> uint8[F, grid * grid]: the object that covers most of each patch, 0 if none covers ``least``."""
    frames, height, width = id_map.shape
    objects = int(id_map.max()) + 1
    cell = (np.arange(height) * grid // height)[:, None] * grid + (np.arange(width) * grid // width)[None]
    area = np.bincount(cell.ravel(), minlength=grid * grid)
    out = np.zeros((frames, grid * grid), np.uint8)
    for f in range(frames):
        counts = np.bincount((id_map[f].astype(np.int64) * grid * grid + cell).ravel(), minlength=objects * grid * grid)
        shares = counts.reshape(objects, grid * grid)[1:] / area
        if len(shares):
            out[f] = np.where(shares.max(0) >= least, shares.argmax(0) + 1, 0)
    return out
