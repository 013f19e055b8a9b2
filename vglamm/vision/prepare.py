"""Decoded frames -> what the vision part sees. Runs on the CPU, once, on 8-bit pixels; nothing is normalised here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import VideoError
from vglamm.media import resize
from vglamm.records import VisionInput
from vglamm.vision.config import VisionConfig


def prepare(frames: NDArray[np.uint8], config: VisionConfig, *, image: bool = False) -> VisionInput:
    """frames: uint8[T, H, W, 3], RGB; T is ``config.frames`` for a video and 1 for an image (which the temporal tower never sees).

    Raises VideoError for another number of frames: the visual tokens of a video are counted before they are made.
    """
    wanted = 1 if image else config.frames
    if len(frames) != wanted:
        raise VideoError(
            f"{len(frames)} frames",
            f"{wanted} for {'an image' if image else 'a video'}",
            "pick them with vglamm.media.sample.evenly",
        )
    spatial = resize.spatial(frames, config.spatial.image_size)
    return VisionInput(spatial, None if image else resize.temporal(frames, config.temporal.image_size))
