"""Cases and answers about drawn masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.unit.media.shapes import track_of
from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.data.corpora.case import Case, Media, Truth
from vglamm.language.phrases import parse_moments, parse_reply
from vglamm.records import Sampling

SIZE = (40, 80)
FPS = 10.0


def block(frames: int, *places: tuple[int, int, int, int] | None) -> np.ndarray:
    """bool[S, frames, *SIZE]: a rectangle (top, left, bottom, right) for each object on every frame, None for an empty mask."""
    masks = np.zeros((len(places), frames, *SIZE), dtype=bool)
    for mask, place in zip(masks, places, strict=True):
        if place is not None:
            top, left, bottom, right = place
            mask[:, top:bottom, left:right] = True
    return masks


def case_of(masks: np.ndarray, name: str = "mevis/valid_u/v/0", *, ignored: np.ndarray | None = None, **more: Any) -> Case:
    """A case whose truth is ``masks``; ``more``: fields of Case, and of Truth: phrases, caption, shown."""
    told = {key: more.pop(key) for key in ("caption", "shown") if key in more}
    truth = Truth(
        more.pop("phrases", ("it",) * len(masks)),
        frames=masks.shape[1],
        size=masks.shape[2:],
        masks_of=lambda frames: masks[:, list(frames)],
        ignored_of=None if ignored is None else lambda frames: ignored[None, list(frames)],
        **told,
    )
    return Case(id=name, video=more.pop("video", "v"), media=Media("v.mp4"), question="What?", truth=truth, **more)


def answered(
    case: Case, masks: np.ndarray, raw: str | None = None, grounding: Sequence[int] | None = None, source_frames: int | None = None
) -> Annotation:
    """An answer with these masks, bool[S, K, H, W]; ``grounding``: their frames, by default all."""
    raw = raw if raw is not None else " and ".join("<p> it </p> [SEG]" for _ in masks) or "There is none."
    frames = tuple(range(masks.shape[1]) if grounding is None else grounding)
    times = tuple(frame / FPS for frame in frames)
    reply = parse_reply(raw)
    count = source_frames or case.truth.frames or len(frames)
    moments, _ = parse_moments(raw, times, count / FPS)
    sampling = Sampling(frames, times, frames, times, count, FPS, masks.shape[2:])
    tracks = tuple(track_of(mask) for mask in masks)
    answer = Answer(case.question, reply.text, raw, reply.phrases, tracks, moments, sampling, "v.mp4", "model")
    return Annotation(case.id, 0, case.video, "v.mp4", case.question, "ok", "config", answer=answer)


def failed(case: Case, error: str = "VideoUnreadable", status: str = "failed") -> Annotation:
    return Annotation(case.id, 0, case.video, "v.mp4", case.question, status, "config", error_type=error, error="why")
