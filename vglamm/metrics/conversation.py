"""Grounded conversation generation (GCG) from answers: masks, phrases and captions of a video description.

A record keeps the overlap of every mask with every other, the phrases and the captions; recall and caption scores are made from
them at the end, so that a text encoder, a Java program or a judge is needed once and can be another the next time.

*published*: what the published scripts do with an answer, which is more than its defects in :mod:`vglamm.metrics.gcg`: connected
parts of fewer than 20 pixels are removed; the caption that is scored is the whole dialogue, system prompt and question included;
of P phrases the first P masks are taken, and an answer with fewer masks than phrases has mIoU 0, no match and no caption; a failed
case is left out. (That a missing result pairs all masks after it with another caption is not repeated.) *corrected*: the masks,
phrases and text of the answer as they are, and 0 for a failed case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import CorpusError, MaskError
from vglamm.metrics.answers import Bool, chunks, masks_on, need_masks, outcome, scored_frames, without_blobs
from vglamm.metrics.gcg import miou_of_overlap_corrected, miou_of_overlap_published
from vglamm.metrics.score import FAILED, Record

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.answer import Answer
    from vglamm.data.corpora.case import Case

SYSTEM = "You are a helpful AI assistant."  # of the released model's prompt, part of what the published scorer reads
_PHRASE = re.compile(r"<p>(.*?)</p>")
_TAG = re.compile(r"<.*?>")

Matrix = NDArray[np.float64]


def score_conversation(case: Case, annotation: Annotation | None) -> Record:
    """One description. ConfigError for a split without masks; the group is the set that the case is from."""
    need_masks(case)
    answer, status, reason = outcome(case, annotation)
    told: dict[str, Any] = {"id": case.id, "video": case.video, "group": case.id.split("/")[0]}
    truth = {"phrases": list(case.truth.phrases), "caption": case.truth.caption or ""}
    nothing: dict[str, Any] = {"corrected": {"miou": 0.0}, "detail": {"truth": truth, "published": None, "corrected": None}}
    if answer is None:
        return Record(**told, **nothing, status=status, reason=reason, left_out=reason)
    try:
        published, corrected = _overlaps(case, answer)
    except (CorpusError, MaskError) as error:
        reason = type(error).__name__
        return Record(**told, **nothing, status=FAILED, reason=reason, left_out=reason)
    said = _published_said(answer, published)
    mine = {"caption": answer.text, "phrases": _phrases(answer), "overlap": _plain(corrected)}
    return Record(
        **told,
        published={"miou": miou_of_overlap_published(published[:, : len(said["phrases"])])},
        corrected={"miou": miou_of_overlap_corrected(np.nan_to_num(corrected, nan=1.0))},
        detail={"truth": truth, "published": said, "corrected": mine},
    )


def matrix(overlap: Sequence[Sequence[float | None]], phrases: int, both_empty: float) -> Matrix:
    """IoU [phrases, predicted] out of a record, where None stands for two empty masks. phrases: 1 or more."""
    rows = [[both_empty if value is None else value for value in row] for row in overlap]
    return np.array(rows, dtype=np.float64).reshape(phrases, -1)


def published_caption(answer: Answer) -> str:
    """The text that the published scorer takes for the caption: the dialogue without tags, on one line."""
    return _untagged(f"{SYSTEM} {answer.question} {answer.raw}")


def _published_said(answer: Answer, overlap: Matrix) -> dict[str, Any]:
    """What the published scorer sees of an answer."""
    phrases = [phrase.strip() for phrase in _PHRASE.findall(_one_line(answer.raw))]
    if len(phrases) > overlap.shape[1]:  # it looks for a mask file that is not there
        return {"caption": "", "phrases": [], "overlap": [[] for _ in overlap]}
    return {"caption": published_caption(answer), "phrases": phrases, "overlap": _plain(overlap[:, : len(phrases)])}


def _phrases(answer: Answer) -> list[str | None]:
    """The phrase of each track."""
    found: list[str | None] = [None] * len(answer.tracks)
    for phrase in answer.phrases:
        found[phrase.track] = phrase.text
    return found


def _overlaps(case: Case, answer: Answer) -> tuple[Matrix, Matrix]:
    """IoU through time [true, predicted] in both modes, NaN where both masks are empty."""
    shape = len(case.truth.phrases), len(answer.tracks)
    inter, union = np.zeros((2, *shape)), np.zeros((2, *shape))
    frames = scored_frames(case)
    for some in chunks(frames):
        truth = case.truth.masks(some)
        said = masks_on(answer, some, (truth.shape[2], truth.shape[3]))
        for mode, masks in enumerate((without_blobs(said), said)):
            inter_now, union_now = _pixels(truth, masks)
            inter[mode] += inter_now
            union[mode] += union_now
    share = np.divide(inter, union, out=np.full_like(inter, np.nan), where=union > 0)
    return share[0], share[1]


def _pixels(truth: Bool, said: Bool) -> tuple[Matrix, Matrix]:
    """Pixels of intersections and unions [true, predicted]."""
    flat, other = (masks.reshape(len(masks), int(np.prod(masks.shape[1:]))) for masks in (truth, said))
    inter = np.array([[np.count_nonzero(a & b) for b in other] for a in flat], dtype=np.float64).reshape(len(flat), len(other))
    areas, other_areas = np.count_nonzero(flat, axis=1), np.count_nonzero(other, axis=1)
    return inter, areas[:, None] + other_areas[None, :] - inter


def _plain(overlap: Matrix) -> list[list[float | None]]:
    """For JSON, which has no NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in overlap]


def _one_line(text: str) -> str:
    return text.replace("\n", "").replace("  ", " ")


def _untagged(text: str) -> str:
    return " ".join(_TAG.sub("", _one_line(text)).replace("[SEG]", "").split()).strip("'").strip()
