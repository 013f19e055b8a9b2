"""Samples of :mod:`tests.unit.ray_jobs.lines`. Torch-free, so that a producer process starts at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Draw:
    """Sample id -> a vector and a number that depends on it. Rows carry unequal weights, as dialogues have unequal tokens."""

    width: int
    scale: float

    def __call__(self, seed: int) -> dict[str, Any]:
        noise = np.random.default_rng(seed)
        x = noise.standard_normal(self.width).astype(np.float32)
        return {"id": seed, "x": x, "y": np.float32(self.scale * np.tanh(x[:4].sum())), "weight": int(noise.integers(1, 5))}


@dataclass(frozen=True)
class Jealous(Draw):
    """``Draw`` that bears no other of its kind beside it, in whatever process: FileExistsError. folder: where they can tell."""

    folder: str

    def __call__(self, seed: int) -> dict[str, Any]:
        busy = Path(self.folder) / "busy"
        busy.touch(exist_ok=False)
        time.sleep(0.1)
        busy.unlink()
        return super().__call__(seed)
