"""Backgrounds: flat, clouds, grain, patterns, and frames of a film that play and drift."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vglamm.data.world.words import ASSETS

_FILM_HEIGHT = 144  # of the stored frames; they are shown at 9/8 of the frame, which leaves room to drift
_LIGHTS = (1.0, 0.8, 0.6)
_BANK_SEED = 20240607


@lru_cache(maxsize=2 * len(_LIGHTS))
def film_frames(size: int, light: float = 1.0) -> NDArray[np.uint8]:
    """uint8[N, 9/8 size, 2 size, 3]: the stored film at the height for frames of ``size`` px; light: 0..1, brightness."""
    with Image.open(ASSETS / "film.webp") as strip:
        count = strip.height // _FILM_HEIGHT
        height, width = round(size * 9 / 8), 2 * size
        picture = strip.convert("RGB")
    if height != _FILM_HEIGHT:
        picture = picture.resize((width, height * count), Image.Resampling.BILINEAR)
    frames = np.asarray(picture).reshape(count, height, width, 3)
    return frames if light == 1.0 else (frames * light).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int, slope: float) -> NDArray[np.float32]:
    """float32[size, size], 0..1: noise whose spectrum falls as f^-slope, periodic."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1.0
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) / frequency**slope).real
    low, high = np.quantile(values, (0.02, 0.98))
    return np.asarray(np.clip((values - low) / (high - low), 0, 1), np.float32)


def _pattern(index: int, size: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:size, :size] * (128 / size)
    if index == 0:
        values = (x // 12 + y // 12) % 2  # checks
    elif index == 1:
        values = ((y % 14 < 2) | ((x + 14 * (y // 14 % 2)) % 28 < 2)).astype(float)  # bricks
    elif index == 2:
        values = 0.5 + 0.5 * np.sin((x + 2 * y) / 6)  # waves
    elif index == 3:
        values = (x % 16 < 3).astype(float) + 0.5 * (y % 16 < 3)  # tartan
    else:
        values = 0.5 + 0.5 * np.sin(x / 7) * np.sin(y / 7)  # bumps
    return np.asarray(np.clip(values, 0, 1), np.float32)


@lru_cache(maxsize=8)
def _bank(kind: str, size: int) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(_BANK_SEED)
    if kind == "pattern":
        return tuple(_pattern(index, size) for index in range(5))
    slope = 1.6 if kind == "cloud" else 0.5
    return tuple(_noise(rng, size, slope) for _ in range(6))


def _muted(rng: np.random.Generator) -> NDArray[np.float32]:
    """A background colour, float32[3]: any grey with little colour, so that objects stand out."""
    grey = rng.uniform(40, 205)
    return np.asarray(np.clip(grey + rng.uniform(-28, 28, 3), 0, 235), np.float32)


def _texture(kind: str, rng: np.random.Generator, room: int) -> NDArray[np.uint8]:
    """uint8[room, room, 3]: a still texture between two muted colours."""
    first = _muted(rng)
    if kind == "flat":
        ramp = np.linspace(-1, 1, room, dtype=np.float32)[:, None, None] * rng.uniform(-12, 12)
        return np.asarray(np.clip(np.broadcast_to(first + ramp, (room, room, 3)), 0, 255), np.uint8)
    bank = _bank(kind, room)
    values = bank[int(rng.integers(len(bank)))]
    if rng.random() < 0.5:
        values = values.T
    if kind != "pattern":
        shift = rng.integers(room, size=2)
        values = np.roll(values, (int(shift[0]), int(shift[1])), (0, 1))
    second = np.clip(first + rng.choice((-1, 1)) * rng.uniform(18, 55) + rng.uniform(-15, 15, 3), 0, 235).astype(np.float32)
    return np.asarray(first + values[..., None] * (second - first)).astype(np.uint8)


def _drift(rng: np.random.Generator, frames: int, room: tuple[int, int], reach: float) -> NDArray[np.int_]:
    """int[F, 2]: top-left corners (y, x) that slide evenly inside ``room`` by at most ``reach`` px."""
    start = np.asarray([rng.uniform(0, high) for high in room])
    end = np.clip(start + rng.uniform(-reach, reach, 2), 0, room)
    return np.rint(np.linspace(start, end, frames)).astype(int)


def draw_ground(kind: str, rng: np.random.Generator, frames: int, size: int) -> NDArray[np.uint8]:
    """uint8[F, size, size, 3], writable: a background of this kind ("flat", "cloud", "grain", "pattern", "film")."""
    out = np.empty((frames, size, size, 3), np.uint8)
    if kind != "film":
        out[:] = _texture(kind, rng, size)
        return out
    film = film_frames(size, _LIGHTS[int(rng.integers(len(_LIGHTS)))])
    corners = _drift(rng, frames, (film.shape[1] - size, film.shape[2] - size), 0.06 * size)
    positions = np.arange(frames) + rng.integers(max(1, len(film) - frames))
    positions = np.abs((positions + len(film)) % (2 * len(film)) - len(film))[:: rng.choice((-1, 1))].clip(0, len(film) - 1)
    mirrored = bool(rng.random() < 0.5)
    for index, (position, (top, left)) in enumerate(zip(positions, corners, strict=True)):
        view = film[position, top : top + size, left : left + size]
        out[index] = view[:, ::-1] if mirrored else view
    return out
