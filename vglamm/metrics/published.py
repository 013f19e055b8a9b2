"""Numbers that were published, in the unit of each measure, to stand beside ours in a report.

A number of ours is comparable only in published mode, on the same split, and for text with the same judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PAPER, SPARROW, LATER = "VideoGLaMM (CVPR 2025)", "SPARROW (CVPR 2026)", "later work"
"""Where a number was published."""


@dataclass(frozen=True)
class PublishedRow:
    """One model on one task. numbers: measure key -> value; of a group of cases (a question type) the key is ``group/measure``."""

    model: str
    source: str
    numbers: Mapping[str, float]


def _gcg(model: str, source: str, miou: float, recall: float, meteor: float, cider: float, clair: float) -> PublishedRow:
    return PublishedRow(model, source, {"miou": miou, "recall": recall, "meteor": meteor, "cider": cider, "clair": clair})


def _jf(model: str, source: str, j: float, f: float, jf: float) -> PublishedRow:
    return PublishedRow(model, source, {"j": j, "f": f, "jf": jf})


OURS = "VideoGLaMM"
"""The row that this project is measured by, the first of every task."""

PUBLISHED: Mapping[str, tuple[PublishedRow, ...]] = {
    "gcg": (
        _gcg(OURS, PAPER, 62.34, 0.375, 0.103, 0.590, 28.2),
        _gcg("VideoGLaMM, image encoder alone", PAPER, 60.06, 0.395, 0.081, 0.371, 18.9),
        _gcg("VideoGLaMM, video encoder alone", PAPER, 64.62, 0.375, 0.097, 0.568, 26.5),
        _gcg("PG-Video-LLaVA", PAPER, 24.03, 0.093, 0.10, 0.01, 15.0),
        _gcg("GLaMM + SAM2", PAPER, 28.60, 0.117, 0.097, 0.15, 22.9),
        PublishedRow("SPARROW", SPARROW, {"miou": 65.6, "recall": 0.383, "clair": 33.6}),
    ),
    "mevis": (
        _jf(OURS, PAPER, 42.07, 48.23, 45.15),
        _jf("PG-Video-LLaVA", PAPER, 18.35, 19.39, 18.87),
        _jf("GLaMM + SAM2", PAPER, 35.8, 41.5, 38.66),
        _jf("VideoLISA", PAPER, 41.3, 47.6, 44.4),
        PublishedRow("UniPixel-3B", LATER, {"jf": 53.1}),
        PublishedRow("Sa2VA-i-4B", LATER, {"jf": 56.6}),
    ),
    "ref_youtube_vos": (
        PublishedRow(OURS, PAPER, {"jf": 66.8}),
        PublishedRow("VideoLISA", PAPER, {"jf": 63.7}),
        PublishedRow("Sa2VA-i-4B", LATER, {"jf": 73.2}),
    ),
    "ref_davis17": (
        PublishedRow(OURS, PAPER, {"jf": 69.5}),
        PublishedRow("VideoLISA", PAPER, {"jf": 68.8}),
        PublishedRow("Sa2VA-i-4B", LATER, {"jf": 78.6}),
    ),
    "vidstg": (
        PublishedRow(OURS, PAPER, {"interrogative/gt_viou": 39.66}),
        PublishedRow("PG-Video-LLaVA 7B", PAPER, {"interrogative/gt_viou": 34.2}),
        PublishedRow("PG-Video-LLaVA 13B", PAPER, {"interrogative/gt_viou": 35.1}),
        PublishedRow("GLaMM + SAM2", PAPER, {"interrogative/gt_viou": 38.63}),
        PublishedRow("UniPixel, tuned by SPARROW", SPARROW, {"interrogative/gt_viou": 46.7}),
    ),
}


SPLITS: Mapping[str, str] = {"gcg": "val", "mevis": "valid", "ref_youtube_vos": "valid", "ref_davis17": "valid", "vidstg": "test"}
"""Of which split of a task its rows were published. Numbers on another one, such as those that can be scored without the set's
server, are no match for them."""


def published_rows(task: str) -> tuple[PublishedRow, ...]:
    """The rows of a task; () where nothing was published."""
    return PUBLISHED.get(task, ())
