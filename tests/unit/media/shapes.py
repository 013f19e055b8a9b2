"""A small honest answer: shapes that move over a striped ground, with their true masks."""

from __future__ import annotations

import numpy as np

from vglamm.answer import Answer
from vglamm.language.phrases import parse_moments, parse_reply
from vglamm.media import rle
from vglamm.records import Sampling, Track

RAW = "<p> a red ball </p> [SEG] rolls past <p> a blue box </p> [SEG] ."


def movie(frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """uint8[F, H, W, 3] and bool[2, F, H, W]: a ball that leaves half way, a box that is always there, the ball in front."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    masks = np.zeros((2, frames, height, width), dtype=bool)
    video[:] = np.stack([90 + (columns // 8 % 2) * 14, 110 + 40 * rows // height, np.full(size, 96)], axis=-1)
    for k in range(frames):
        share = k / max(1, frames - 1)
        centre = width * (0.2 + 1.7 * share)
        masks[0, k] = (columns - centre) ** 2 + (rows - height * 0.55) ** 2 < (height * 0.2) ** 2
        left = width * (0.55 - 0.2 * share)
        masks[1, k] = (abs(columns - left) < width * 0.11) & (abs(rows - height * 0.4) < height * 0.2) & ~masks[0, k]
        video[k][masks[0, k]], video[k][masks[1, k]] = (190, 40, 40), (50, 70, 170)
    return video, masks


def track_of(masks: np.ndarray) -> Track:
    """The track of bool[K, H, W]."""
    encoded = rle.encode(masks)
    seen = [k for k, mask in enumerate(encoded) if mask is not None]
    scores = tuple(0.9 if mask is not None else 0.1 for mask in encoded)
    first, last = (seen[0], seen[-1]) if seen else (None, None)
    return Track(tuple(encoded), tuple(rle.boxes(encoded)), scores, 0.9 if seen else 0.0, first, last)


def answer_about(
    masks: np.ndarray, times: tuple[float, ...], raw: str = RAW, source: str = "shapes.mp4", question: str = "What happens?"
) -> Answer:
    """The answer of a perfect model to bool[S, K, H, W], every frame of the source being a grounding frame."""
    reply, frames = parse_reply(raw), len(times)
    moments, warnings = parse_moments(raw, times, times[-1])
    sampling = Sampling(
        tuple(range(frames)), times, tuple(range(frames)), times, frames, 10.0 if frames > 1 else 0.0, masks.shape[2:]
    )
    return Answer(
        question,
        reply.text,
        raw,
        reply.phrases,
        tuple(track_of(through_time) for through_time in masks),
        moments,
        sampling,
        source,
        "tiny-0123abcd",
        warnings=reply.warnings + warnings,
        timings={"vision": 0.25, "language": 1.5},
    )
