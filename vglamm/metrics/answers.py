"""The masks of an answer on the frames that are scored, a few frames at a time, and what became of a case.

An answer has masks on its grounding frames alone. On any other frame that is scored it shows nothing: an empty mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import ConfigError, CorpusError, EnvironmentProblem
from vglamm.media import rle
from vglamm.metrics.score import FAILED, SKIPPED

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.answer import Answer
    from vglamm.data.corpora.case import Case

Bool = NDArray[np.bool_]

CHUNK = 4
"""Frames held at once: a boundary measure of a large frame takes some hundred megabytes."""
BLOB = 20
"""The published scripts remove connected parts of fewer pixels than this (four neighbours)."""
NOT_ASKED = "NotAsked"


def outcome(case: Case, annotation: Annotation | None) -> tuple[Answer | None, str, str | None]:
    """(answer, status, reason): the answer if it is one to this case, else None with "failed" or "skipped" and the error's name.

    An answer about another video than the one annotated (another size or length) is a failure, CorpusError.
    """
    if case.problem is not None:
        return None, FAILED, type(case.problem).__name__
    if annotation is None:
        return None, FAILED, NOT_ASKED
    if annotation.answer is None:
        return None, SKIPPED if annotation.status == SKIPPED else FAILED, annotation.error_type or annotation.status
    try:
        case.check(annotation.answer.sampling.source_frames, annotation.answer.sampling.size)
    except CorpusError as error:
        return None, FAILED, type(error).__name__
    return annotation.answer, annotation.status, None


def need_masks(case: Case) -> None:
    """ConfigError for a case of a split whose truth is kept by a server."""
    if case.problem is None and not case.truth.has_masks:
        raise ConfigError(
            f"case {case.id!r} without true masks", "a split with masks", "hand the masks to the set's server instead"
        )


def scored_frames(case: Case) -> list[int]:
    """The frames on which the truth is known, of a clip those that lie in it."""
    truth = case.truth
    frames = range(truth.frames or 0) if truth.shown is None else truth.shown
    first, stop = case.meta.get("clip", (0, truth.frames or 0))
    return [frame for frame in frames if first <= frame < stop]


def chunks(frames: Sequence[int]) -> Iterator[Sequence[int]]:
    """``frames``, at most :data:`CHUNK` at a time."""
    for start in range(0, len(frames), CHUNK):
        yield frames[start : start + CHUNK]


def masks_on(answer: Answer | None, frames: Sequence[int], size: tuple[int, int], tracks: int | None = None) -> Bool:
    """bool[S, len(frames), H, W] of the first ``tracks`` tracks (None: all); S = 0 without an answer."""
    if answer is None:
        return np.zeros((0, len(frames), *size), dtype=bool)
    place = {frame: i for i, frame in enumerate(answer.sampling.grounding_indices)}
    found = [
        rle.decode([track.rle[place[frame]] if frame in place else None for frame in frames], size)
        for track in answer.tracks[:tracks]
    ]
    return np.stack(found) if found else np.zeros((0, len(frames), *size), dtype=bool)


def says_something(answer: Answer, tracks: int | None = None) -> bool:
    """Has one of the first ``tracks`` tracks (None: all) a pixel."""
    return any(mask is not None for track in answer.tracks[:tracks] for mask in track.rle)


def without_blobs(masks: Bool, least: int = BLOB) -> Bool:
    """bool[..., H, W] without connected parts (four neighbours) of fewer than ``least`` pixels. EnvironmentProblem: no scipy."""
    try:
        from scipy import ndimage
    except ImportError as error:
        raise EnvironmentProblem("no scipy", "scipy for published scores", "pip install 'vglamm[eval]'") from error
    out = masks.copy()
    for mask in out.reshape(-1, *masks.shape[-2:]):
        labels, count = ndimage.label(mask)
        if count:
            small = np.bincount(labels.ravel()) < least
            small[0] = False
            mask[small[labels]] = False
    return out
