"""Pictures of objects: shapes drawn here, things from the atlas; coloured, textured, shaded, turned and scaled.

A sprite is a PIL image of mode RGBa (colour multiplied by alpha), so that bilinear warps bring no dark fringe. Everything lies
inside the circle inscribed in the square, so that turning cuts nothing.
"""

from __future__ import annotations

import colorsys
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vglamm.data.world.words import ASSETS, COLOURS, THINGS

_DRAWN = 512
_SOURCES = (32, 64, 128)
_TILE, _COLUMNS = 64, 16  # of the atlas, as make_atlas lays it out


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: int = 255) -> None:
    draw.ellipse([_DRAWN * (v + 0.5) for v in (x - radius, y - radius, x + radius, y + radius)], fill=fill)


def _polygon(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]]) -> None:
    draw.polygon([(_DRAWN * (x + 0.5), _DRAWN * (y + 0.5)) for x, y in points], fill=255)


def _rays(radii: list[float]) -> list[tuple[float, float]]:
    turns = [2 * math.pi * i / len(radii) - math.pi / 2 for i in range(len(radii))]
    return [(radius * math.cos(turn), radius * math.sin(turn)) for radius, turn in zip(radii, turns, strict=True)]


def _heart() -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * math.pi, 90)
    x = 16 * np.sin(turns) ** 3
    y = -(13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns))
    return [(float(a) / 35, float(b - 2) / 35) for a, b in zip(x, y, strict=True)]


@lru_cache(maxsize=16)
def _outline(shape: str) -> Image.Image:
    picture = Image.new("L", (_DRAWN, _DRAWN))
    draw = ImageDraw.Draw(picture)
    if shape == "circle":
        _disc(draw, 0, 0, 0.45)
    elif shape == "ring":
        _disc(draw, 0, 0, 0.49)
        _disc(draw, 0, 0, 0.27, fill=0)
    elif shape == "moon":
        _disc(draw, 0.0, 0, 0.49)
        _disc(draw, 0.24, 0, 0.36, fill=0)
    elif shape == "square":
        _polygon(draw, [(-0.35, -0.35), (0.35, -0.35), (0.35, 0.35), (-0.35, 0.35)])
    elif shape == "triangle":
        _polygon(draw, _rays([0.5] * 3))
    elif shape == "star":
        _polygon(draw, _rays([0.5, 0.22] * 5))
    elif shape == "cross":
        _polygon(draw, [(-0.14, -0.47), (0.14, -0.47), (0.14, 0.47), (-0.14, 0.47)])
        _polygon(draw, [(-0.47, -0.14), (0.47, -0.14), (0.47, 0.14), (-0.47, 0.14)])
    else:
        _polygon(draw, _heart())
    return picture


def _texture(name: str, size: int) -> NDArray[np.float32]:
    """float32[size, size]: factors on the colour; marks are dark."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    if name == "striped":
        marked = (x + y) % 0.26 < 0.12
    elif name == "dotted":
        marked = np.hypot((x + 0.1) % 0.2 - 0.1, (y + 0.1) % 0.2 - 0.1) < 0.062
    else:
        return np.ones((size, size), np.float32)
    return np.where(marked, 0.32, 1.0).astype(np.float32)


@lru_cache(maxsize=128)
def _shape_source(shape: str, texture: str, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Colour factors float32[size, size, 1] (texture, shading and a dark rim) and alpha uint8[size, size]."""
    fine = 128
    alpha = _outline(shape).resize((fine, fine), Image.Resampling.BOX)
    inside = np.asarray(alpha.filter(ImageFilter.MinFilter(5)).filter(ImageFilter.BoxBlur(1)), np.float32) / 255
    y, x = np.mgrid[:fine, :fine] / fine
    factors = _texture(texture, fine) * (1.12 - 0.3 * (x + y) / 2) * (0.35 + 0.65 * inside)
    small = Image.fromarray(factors.astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small)[..., None], np.asarray(alpha.resize((size, size), Image.Resampling.BOX))


@lru_cache(maxsize=512)
def _thing_source(noun: str, size: int) -> NDArray[np.float32]:
    """float32[size, size, 4], 0..255, colour multiplied by alpha."""
    row, column = divmod(THINGS.index(noun), _COLUMNS)
    picture = _atlas().crop((column * _TILE, row * _TILE, (column + 1) * _TILE, (row + 1) * _TILE))
    resample = Image.Resampling.BOX if size <= _TILE else Image.Resampling.BICUBIC
    values = np.asarray(picture.resize((size, size), resample), np.float32)
    return np.concatenate([values[..., :3] * values[..., 3:] / 255, values[..., 3:]], axis=2)


@lru_cache(maxsize=1)
def _atlas() -> Image.Image:
    with Image.open(ASSETS / "things.webp") as picture:
        return picture.convert("RGBA")


def source_size(diameter: float) -> int:
    """The stored size from which a sprite of this diameter is warped: bilinear sampling should not skip pixels."""
    return next((size for size in _SOURCES if size >= diameter), _SOURCES[-1])


def _jittered(colour: str, hue: float, gain: float) -> NDArray[np.float32]:
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in COLOURS[colour]))
    rgb = colorsys.hsv_to_rgb((h + 0.012 * hue) % 1.0, s, v)
    return np.asarray(rgb, np.float32) * 255 * gain


def _hue_matrix(turn: float) -> NDArray[np.float32]:
    """Rotation of RGB about grey by ``turn`` radians."""
    third, root = (1 - math.cos(turn)) / 3, math.sin(turn) / math.sqrt(3)
    a, b, c = math.cos(turn) + third, third - root, third + root
    return np.asarray([[a, b, c], [c, a, b], [b, c, a]], np.float32)


def shape_sprite(shape: str, colour: str, texture: str, hue: float, gain: float, size: int) -> Image.Image:
    """A shape of ``size`` px. hue: -1..1, a slight shift inside the colour's name; gain: brightness, about 1."""
    factors, alpha = _shape_source(shape, texture, size)
    tinted = np.minimum(factors * _jittered(colour, hue, gain), 255) * (alpha[..., None] / np.float32(255))
    return _premultiplied(np.concatenate([tinted, alpha[..., None]], axis=2))


def thing_sprite(noun: str, flip: bool, hue: float, gain: float, size: int) -> Image.Image:
    """A thing of ``size`` px, mirrored if ``flip``, lit from one side; hue and gain as in ``shape_sprite``."""
    values = _thing_source(noun, size)
    ramp = np.linspace(1.06, 0.9, size, dtype=np.float32)[:, None, None] * gain
    tinted = np.clip(values[..., :3] @ _hue_matrix(0.2 * hue) * ramp, 0, values[..., 3:])
    whole = np.concatenate([tinted, values[..., 3:]], axis=2)
    return _premultiplied(whole[:, ::-1] if flip else whole)


def _premultiplied(values: NDArray[np.float32]) -> Image.Image:
    size = values.shape[0]
    return Image.frombytes("RGBa", (size, size), (values + 0.5).astype(np.uint8).tobytes())


def warp(sprite: Image.Image, diameter: float, angle: float) -> NDArray[np.uint8]:
    """uint8[n, n, 4], premultiplied: the sprite scaled to ``diameter`` px and turned by ``angle`` degrees, n just large enough."""
    n = math.ceil(diameter) + 2
    scale, turn = sprite.width / diameter, math.radians(angle)
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    middle, centre = sprite.width / 2, n / 2
    data = (a, b, middle - (a + b) * centre, -b, a, middle - (a - b) * centre)
    patch = sprite.transform((n, n), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.frombuffer(patch.tobytes(), np.uint8).reshape(n, n, 4)
