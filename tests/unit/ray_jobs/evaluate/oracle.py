"""A bulk annotation that needs no model: it answers every question of a manifest with what is true, but for what a test changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ray_jobs.annotate.manifest import Job, Manifest
from ray_jobs.evaluate.corpora import Annotate
from ray_jobs.evaluate.plan import Cases
from tests.unit.media.shapes import track_of
from vglamm.annotation import FAILED, OK, Annotation
from vglamm.answer import Answer
from vglamm.data.corpora import Case
from vglamm.frames import choose, end_of
from vglamm.language.phrases import parse_moments, parse_reply
from vglamm.media.read import VideoSource, open_video
from vglamm.presets import preset
from vglamm.records import Sampling

LOST = "lost"
Say = Callable[[Case, Sampling], "tuple[str, np.ndarray]"]
"""What an answer says: its raw text and bool[S, K, H, W]."""


def truly(case: Case, sampling: Sampling) -> tuple[str, np.ndarray]:
    """The true objects, each with its phrase, and of a set of moments the true moment."""
    if case.truth.tube is not None:
        masks = np.zeros((1, len(sampling.grounding_indices), *sampling.size), bool)
        for mask, box in zip(masks[0], case.truth.boxes(sampling.grounding_indices), strict=True):
            if box is not None:
                x0, y0, x1, y1 = (round(value) for value in box)
                mask[y0:y1, x0:x1] = True
        shown = [k for k, mask in enumerate(masks[0]) if mask.any()]
        return f"<p> it </p> [SEG] frames:({shown[0]},{shown[-1] + 1})", masks
    if not case.truth.has_masks:
        size = case.truth.size or sampling.size
        masks = np.zeros((2, len(sampling.grounding_indices), *size), bool)
        masks[0, :, 0], masks[1, :, -1] = True, True
        return "<p> a </p> [SEG] <p> b </p> [SEG]", masks
    marked = " and ".join(f"<p> {phrase} </p> [SEG]" for phrase in case.truth.phrases)
    return marked, case.truth.masks(sampling.grounding_indices)


def oracle(cases: Cases, changes: Mapping[str, Say | str] | None = None, seen: list[Manifest] | None = None) -> Annotate:
    """changes: for some cases, by id, what is said instead, or :data:`LOST` for a row that fails. seen: gets the manifest."""
    changes = changes or {}

    def annotate(manifest: Manifest) -> Iterator[Annotation]:
        if seen is not None:
            seen.append(manifest)
        known = {case.id: case for case in cases}
        for job in manifest.jobs:
            for number, name in enumerate(job.extra["cases"]):
                yield _row(job, number, known[name], changes.get(name, truly))

    return annotate


def _row(job: Job, number: int, case: Case, say: Say | str) -> Annotation:
    told: dict[str, Any] = {
        "id": job.row_ids[number],
        "position": job.first + number,
        "video": job.id,
        "uri": job.uri,
        "question": job.questions[number],
        "config": "config",
        "extra": dict(job.extra),
    }
    if isinstance(say, str):
        return Annotation(status=FAILED, error_type="VideoUnreadable", error="got it; expected it; mend it", **told)
    own = dict(job.sampling)
    source = open_video(job.uri, fps=own.pop("source_fps", None))
    sampling = choose(source, preset("tiny"), **own)
    raw, masks = say(case, sampling)
    return Annotation(status=OK, answer=_answer(job.questions[number], raw, masks, sampling, source), **told)


def _answer(question: str, raw: str, masks: np.ndarray, sampling: Sampling, source: VideoSource) -> Answer:
    reply = parse_reply(raw)
    moments, _ = parse_moments(raw, sampling.grounding_times, end_of(source))
    tracks = tuple(map(track_of, masks))
    return Answer(question, reply.text, raw, reply.phrases, tracks, moments, sampling, "v", "fake@0123")
