"""Samples of :mod:`tests.unit.ray_jobs.lines`. Torch-free, so that a producer process starts at once."""

from __future__ import annotations

from dataclasses import dataclass
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
