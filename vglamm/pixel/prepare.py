"""Decoded frames -> what the pixel part sees. Runs on the CPU, chunk by chunk, on 8-bit pixels; nothing is normalised here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vglamm.media import resize
from vglamm.pixel.config import PixelConfig
from vglamm.records import PixelInput


def prepare(frames: NDArray[np.uint8], config: PixelConfig, *, start: int = 0) -> PixelInput:
    """frames: uint8[K, H, W, 3], RGB. start: position of the first one in the grounding sequence."""
    return PixelInput(resize.grounding(frames, config.longest), (int(frames.shape[1]), int(frames.shape[2])), start)
