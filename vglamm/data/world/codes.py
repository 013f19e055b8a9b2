"""Fixed codes for what a scene holds: the language in which the tiny model's parts are first taught to talk to each other.

Published parts come pre-trained; parts trained from nothing have to agree first on what a visual token and a prompt mean. Here a
code says it: looks and motion as fixed vectors, place in the Fourier features that SAM's prompt encoder uses for points and for
the image (:func:`positions`). Vision is taught to write token codes, language to read them and to write prompt codes, pixel to
follow prompt codes; then they are trained together and may leave the codes behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.generate import SPLITS, make_scene
from vglamm.data.world.scene import Scene, WorldObject
from vglamm.data.world.words import COLOURS, MOTIONS, SHAPES, TEXTURES, THINGS

Array = NDArray[np.float32]
PROMPT = 128
NAME, PLACE, SIZE = 64, 64, 4
BLOCKS = {
    "present": 1,
    "colour": len(COLOURS),
    "shape": len(SHAPES),
    "texture": len(TEXTURES),
    "name": NAME,
    "place": PLACE,
    "size": SIZE,
    "motion": len(MOTIONS),
}
"""Blocks of a token code before its rotation and their widths."""
RAW = sum(BLOCKS.values())
_COLOURS, _SEED = tuple(COLOURS), 20261122
_PLACE_IN_TOKEN = 0.35  # a place is 64 numbers and a colour one: without it the place would be all that a token's length says
_STRANGERS = 5_000_000  # added to a seed for a scene of other objects
_ONCE = np.r_[0 : PLACE // 2, PLACE : PLACE + PLACE // 2]  # features of a place without their doubles
_FREQUENCY = 0.7  # cycles for each half of the frame, standard deviation
_LENGTHS = {"colour": 4.2, "shape": 4.2, "texture": 2.1, "name": 5.6, "size": 2.1}  # of the looks in a prompt; its place has 8


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


@lru_cache(maxsize=8)
def _vectors(count: int, width: int, stream: int) -> Array:
    """float32[count, width]: fixed unit vectors, nearly orthogonal."""
    vectors = np.random.default_rng((_SEED, width, stream)).standard_normal((count, width))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def name_codes(width: int) -> Array:
    """float32[names, width]: a unit vector for each thing."""
    return _vectors(len(THINGS), width, 0)


@lru_cache(maxsize=1)
def positions() -> Array:
    """float32[2, 64]: frequencies of the Fourier features of (x, y), to be SAM's ``positional_encoding_gaussian_matrix``, so that a
    prompt's place and the image's positions speak of the same thing. Each of 32 comes twice: a visual token has room for 64
    features, and a prompt's 128 have to follow from them."""
    drawn = np.random.default_rng((_SEED, 2)).standard_normal((2, PLACE // 2)) * _FREQUENCY
    return np.concatenate([drawn, drawn], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def rotation(width: int) -> Array:
    """float32[RAW, width]: orthonormal rows that spread a raw token code over ``width`` dimensions."""
    rng = np.random.default_rng((_SEED, width, 1))
    basis, _ = np.linalg.qr(rng.standard_normal((width, RAW)))
    return np.asarray(basis.T, dtype=np.float32)


def word_codes(width: int) -> dict[str, Array]:
    """A unit vector float32[width] for each word that names what a token code tells: the direction in which the code says it. A
    language model whose words begin as these finds "red" in a token as it finds it in a sentence."""
    turn = rotation(width)
    said: dict[str, Array] = {}
    for name, words in (("colour", _COLOURS), ("shape", SHAPES), ("texture", TEXTURES)):
        said |= dict(zip(words, turn[block(name)], strict=True))
    said |= dict(zip((motion.split()[-1] for motion in MOTIONS), turn[block("motion")], strict=True))
    return said | dict(zip(THINGS, name_codes(NAME) @ turn[block("name")], strict=True))


def block(name: str) -> slice:
    """Where a block lies in a raw token code."""
    start = 0
    for known, width in BLOCKS.items():
        if known == name:
            return slice(start, start + width)
        start += width
    raise KeyError(name)


def place_code(centres: Array) -> Array:
    """Fourier features float32[..., 128] of centres float32[..., 2] (shares of width and height), as SAM encodes points."""
    phases = 2 * np.pi * ((2 * centres - 1) @ positions())
    return np.concatenate([np.sin(phases), np.cos(phases)], axis=-1).astype(np.float32)


def size_code(diameters: Array) -> Array:
    """float32[..., 4] of diameters as shares of the frame's width."""
    return np.stack([f(np.pi * k * diameters * 2) for k in (1, 2) for f in (np.sin, np.cos)], axis=-1).astype(np.float32)


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
    code[:, block("place")] = place_code(item.centres / np.float32(size))[:, _ONCE] * _PLACE_IN_TOKEN
    code[:, block("size")] = size_code(item.diameters / np.float32(size)) * _PLACE_IN_TOKEN
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


def last_visible(scene: Scene, item: WorldObject) -> int:
    """The last frame of the LLM's frames that shows the object (the first of all if none does)."""
    seen = [int(f) for f in scene.llm_frames if item.visible[f]]
    return seen[-1] if seen else 0


def prompt_code(scene: Scene, item: WorldObject, *, looks: bool = True, place: bool = True, last: bool = False) -> Array:
    """float32[128], about unit variance: what an object looks like, plus where it is when it is first (or last) visible."""
    what, side = labels(item), np.float32(scene.id_map.shape[1])
    frame = last_visible(scene, item) if last else first_visible(scene, item)
    code = np.zeros(PROMPT, np.float32)
    if place:
        code += place_code(item.centres[frame] / side)
        code += size_code(item.diameters[frame] / side) @ _vectors(SIZE, PROMPT, 5) * _LENGTHS["size"]
    if looks:
        for stream, (name, count) in enumerate(
            (("colour", len(COLOURS)), ("shape", len(SHAPES)), ("texture", len(TEXTURES))), start=1
        ):
            if (index := getattr(what, name)) >= 0:
                code += _vectors(count, PROMPT, stream)[index] * _LENGTHS[name]
        if what.name >= 0:
            code += name_codes(PROMPT)[what.name] * _LENGTHS["name"]
    return code


def stranger_code(seed: int, scene: Scene, difficulty: str) -> Array:
    """A whole prompt code of an object that looks like none of this scene: without its looks it could be anything that is there."""
    here = {item.base for item in scene.objects}
    for offset in range(1, 20):
        elsewhere = (seed + _STRANGERS + offset) % len(SPLITS["train"])
        other = make_scene(elsewhere, difficulty=difficulty, level=scene.level, pixels=False)
        if candidates := [item for item in other.objects if item.base not in here]:
            return prompt_code(other, candidates[0])
    return np.zeros(PROMPT, np.float32)


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
