"""Ref-DAVIS17: four passes, each a video of all objects at once, matched to the truth as DAVIS 2017 does unsupervised.

Each object has an expression of each of four passes (two annotators, who saw the first frame or the full video). *published*: in a
pass the first masks of all expressions of a video are fused into one map of labels by argmax over them and a background of .1,
clips of 64 frames are put end to end, labels are assigned to true objects where the mean of J and F is best (Caelles et al., "The
2019 DAVIS Challenge", 2019), a pass is the mean over its objects, and the score the mean of the four. *corrected*: every expression
against its own object, as in :mod:`vglamm.metrics.referring`, without a choice of the best label and without clips, if the cases
are not clips.

To fuse objects a summary needs masks, so records of this task carry them, encoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import MaskError
from vglamm.media import rle
from vglamm.metrics.answers import CHUNK, Bool, masks_on, outcome, scored_frames
from vglamm.metrics.gcg import assign
from vglamm.metrics.masks import f_per_frame, j_per_frame
from vglamm.metrics.referring import VIDEO_MEASURES, score_expression, union_of
from vglamm.metrics.score import Part, Record, Resampling, Row, Section, mean_row, ratio

if TYPE_CHECKING:
    from vglamm.annotation import Annotation
    from vglamm.data.corpora.case import Case

Scores = NDArray[np.float64]


def score_pass(case: Case, annotation: Annotation | None) -> Record:
    """J, F, J&F of one expression (corrected), and the masks that a pass is fused from."""
    record = score_expression(case, annotation)
    clip = case.meta.get("clip")
    number, object_ = int(case.meta["annotator"]), int(case.meta["object"])
    detail: dict[str, Any] = {"annotator": number, "object": object_, "clip": list(clip or (0, 0))}
    if record.left_out is None:
        answer, _, _ = outcome(case, annotation)
        frames = scored_frames(case)
        truth, ignored = union_of(case.truth.masks(frames)), case.truth.ignored(frames)
        size = truth.shape[1:]
        detail |= {
            "size": list(size),
            "truth": _counts(truth),
            "ignored": None if ignored is None else _counts(ignored),
            "said": _counts(union_of(masks_on(answer, frames, (size[0], size[1]), tracks=1))),
        }
    # an expression alone has no published number: it has one as an object of its video
    left_out = record.left_out
    return replace(record, published=None if left_out else {}, detail=detail)


def summarise_passes(records: Sequence[Record], resampling: Resampling) -> Part:
    """J, F and J&F: the mean of the passes, each a mean over its objects (published), and over expressions (corrected)."""
    objects, unread = _published_objects(records)
    per_pass = {number: sum(pass_ == number for pass_, _, _, _ in objects) for number in {pass_ for pass_, _, _, _ in objects}}
    rows = []
    for measure in VIDEO_MEASURES:
        found = []
        for number, video, j, f in objects:
            weight = 1 / per_pass[number]
            found.append((weight * {"j": j, "f": f, "jf": (j + f) / 2}[measure.key], weight, video))
        published = ratio(measure, found, resampling, none="no object could be scored")
        rows.append(Row(measure, published, mean_row(measure, records, resampling).corrected))
    notes = [
        f"published: {len(objects)} objects over {len(per_pass)} passes; of each expression the first object, fused by argmax over"
        " a background of .1 and matched to the truth at its best; an expression without an answer is empty masks.",
        "corrected: every expression against its own object, all objects of the answer; a failed case is 0.",
    ]
    if any(record.detail["clip"] != [0, 0] for record in records):
        notes.append("corrected: the cases are clips, so that a mean over expressions is one over clips.")
    if unread:
        notes.append(f"published: {unread} passes of a video left out, in which a true mask cannot be read.")
    return Part((Section("", len(records), tuple(rows)),), tuple(notes))


def fuse(masks: Bool) -> NDArray[np.uint8]:
    """Labels 0..S of masks bool[S, F, H, W] -> uint8[F, H, W]: where several are on, the first wins, as argmax has it."""
    scores = np.concatenate([np.full((1, *masks.shape[1:]), 0.1, np.float32), masks.astype(np.float32)])
    labels: NDArray[np.uint8] = scores.argmax(axis=0).astype(np.uint8)
    return labels


def match_unsupervised(j: Scores, f: Scores) -> list[tuple[int, int]]:
    """(label, true object) pairs for which the mean of J and F is best in sum. j, f: [labels, true objects], means over frames."""
    return assign((j + f) / 2)


def _published_objects(records: Sequence[Record]) -> tuple[list[tuple[int, str, float, float]], int]:
    """(pass, video, J, F) of every true object of every pass, and how many passes of a video could not be read."""
    groups: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.detail["annotator"], record.video].append(record)
    objects: list[tuple[int, str, float, float]] = []
    unread = 0
    for (number, video), mine in sorted(groups.items()):
        if any(record.left_out for record in mine):
            unread += 1
            continue
        objects += [(number, video, j, f) for j, f in _pass_of_video(mine)]
    return objects, unread


def _pass_of_video(records: Iterable[Record]) -> list[tuple[float, float]]:
    """(J, F) of each true object of one video in one pass."""
    expressions: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        expressions[record.detail["object"]].append(record)
    # by the number of the object, which decides who has a pixel that two of them want
    clips = [sorted(mine, key=lambda record: record.detail["clip"]) for _, mine in sorted(expressions.items())]
    lengths = {tuple(tuple(record.detail["clip"]) for record in mine) for mine in clips}
    if len(lengths) > 1:
        raise MaskError(f"expressions of one video in clips {sorted(lengths)}", "the same clips for each", "score all cases")
    count = len(clips)
    j, f, frames = np.zeros((count, count)), np.zeros((count, count)), 0
    for part in zip(*clips, strict=True):  # the same clip of every expression
        for start in range(0, len(part[0].detail["truth"]), CHUNK):
            j_sum, f_sum, some = _overlaps([record.detail for record in part], slice(start, start + CHUNK))
            j, f, frames = j + j_sum, f + f_sum, frames + some
    j, f = j / frames, f / frames
    return [(float(j[pair]), float(f[pair])) for pair in match_unsupervised(j, f)]


def _overlaps(details: Sequence[dict[str, Any]], some: slice) -> tuple[Scores, Scores, int]:
    """Sums over some frames of J and F [labels, true objects], and the number of frames."""
    truth = np.stack([_masks(detail, "truth", some) for detail in details])
    labels = fuse(np.stack([_masks(detail, "said", some) for detail in details]))
    counted = ~_masks(details[0], "ignored", some) if details[0]["ignored"] else np.ones(labels.shape, dtype=bool)
    j, f = np.zeros((2, len(details), len(details)))
    for label in range(len(details)):
        for number, true in enumerate(truth):
            said = (labels == label + 1) & counted
            j[label, number] = j_per_frame(true & counted, said).sum()
            f[label, number] = f_per_frame(true & counted, said).sum()
    return j, f, len(labels)


def _counts(masks: Bool) -> list[str | None]:
    return [None if one is None else str(one["counts"]) for one in rle.encode(masks)]


def _masks(detail: dict[str, Any], name: str, some: slice) -> Bool:
    height, width = detail["size"]
    found = [None if one is None else {"size": [height, width], "counts": one} for one in detail[name][some]]
    return rle.decode(found, (height, width))
