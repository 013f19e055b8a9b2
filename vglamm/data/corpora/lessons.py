"""A case and its truth as a question and the answer to learn, each in several wordings.

A model that is asked in one wording only answers no other. The published evaluation's own wording is one of them; what the others
are for follows the published training (grounded descriptions: six wordings; referring: four, and five short answers).
"""

from __future__ import annotations

import numpy as np

from vglamm.data.corpora.case import Case
from vglamm.data.corpora.prompts import DESCRIBE, expression_text, refer_image, refer_video
from vglamm.data.sample import Turn
from vglamm.errors import CorpusError

_DESCRIBE = (
    DESCRIBE,
    "Please describe what happens in this video, and give a segmentation mask for each thing that you mention.",
    "What is going on in the video? Mark the parts of your answer with interleaved segmentation masks.",
    "Give a detailed account of this video with segmentation masks for what you name.",
    "Tell me what the video shows. Your answer should contain segmentation masks for the objects in it.",
    "Can you explain the content of the video, grounding each phrase in a segmentation mask?",
)
_VIDEO = (
    "Can you segment {phrase} in this video?",
    "Where is {phrase} in this video? Please answer with a segmentation mask.",
    "Please carry out spatial segmentation of {phrase} in the video.",
)
_IMAGE = (
    "Can you segment {phrase} in this image?",
    "Where is {phrase} in this image? Please answer with a segmentation mask.",
    "Please segment {phrase} in the image.",
)
_SENTENCE = ("", " Please answer with a segmentation mask.", " Please segment what the answer is.")
_ANSWERS = ("It is [SEG].", "Sure, it is [SEG].", "Sure, [SEG].", "[SEG].", "Here it is: [SEG].")


def lesson(case: Case, rng: np.random.Generator) -> Turn:
    """One question and its answer, drawn from the wordings that fit. The answer has one ``[SEG]`` for each phrase of the truth, in
    order; ``targets`` are their numbers from 1. CorpusError for a case that has nothing to answer."""
    phrases, marked = case.truth.phrases, case.truth.marked
    if marked is not None:
        return Turn(_one(_DESCRIBE, rng), marked, "description", tuple(range(1, len(phrases) + 1)))
    if len(phrases) != 1:
        raise CorpusError(f"{case.id} of {len(phrases)} phrases without an answer", "a caption, or one expression", "leave it out")
    return Turn(_one(_questions(case), rng), _one(_ANSWERS, rng), "reason" if case.meta.get("is_sentence") else "referring", (1,))


def _questions(case: Case) -> tuple[str, ...]:
    [phrase] = case.truth.phrases
    if case.meta.get("is_sentence"):
        return (case.question, *(f"{phrase}{ending}" for ending in _SENTENCE))
    asked = expression_text(phrase)
    published, others = (refer_image, _IMAGE) if case.media.is_image else (refer_video, _VIDEO)
    return (published(asked), *(wording.format(phrase=asked) for wording in others))


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
