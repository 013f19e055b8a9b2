"""The summary of grounded conversation generation: mIoU, recall, METEOR, CIDEr, CLAIR, in both modes.

Each number of a text comes from a program or model that a machine may lack. Then the row says so, and why; it is never filled from
another source: the scores that need no Java have rows of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vglamm.errors import EnvironmentProblem
from vglamm.metrics import caption_scores, words
from vglamm.metrics.caption_scores import CaptionScore
from vglamm.metrics.captions import OFFLINE_ENCODER, PUBLISHED_ENCODER, TextSimilarity, text_similarity
from vglamm.metrics.clair import Clair
from vglamm.metrics.conversation import matrix
from vglamm.metrics.gcg import matches_corrected, matches_published
from vglamm.metrics.score import Measure, Number, Part, Record, Resampling, Row, Section, mean_row, not_computed, ratio

MIOU = Measure("miou", "mIoU", percent=True)
RECALL = Measure("recall", "recall")
METEOR = Measure("meteor", "METEOR 1.5")
METEOR_STEMS = Measure("meteor_stems", "METEOR 2007, stems only")
CIDER = Measure("cider", "CIDEr")
CIDER_TREEBANK = Measure("cider_treebank", "CIDEr, words without Java")
CLAIR = Measure("clair", "CLAIR", percent=True)
MODES = ("published", "corrected")

Scorer = Callable[[Sequence[str], Sequence[str]], CaptionScore]


@dataclass(frozen=True)
class Judges:
    """Who gives the numbers of texts. similarity: encoder of phrases, by name (:func:`vglamm.metrics.captions.text_similarity`);
    "bert-base-uncased" is the published one. java: may Java programs run. clair: the judge, or None."""

    similarity: str = OFFLINE_ENCODER
    java: bool = True
    clair: Clair | None = None


def summarise_conversations(records: Sequence[Record], resampling: Resampling, judges: Judges) -> Part:
    """All measures over all cases, and mIoU and recall of each set."""
    similarity = text_similarity(judges.similarity)
    texts = {mode: _texts(records, mode) for mode in MODES}
    whole = (*_grounding(records, resampling, similarity), *_java(texts, resampling, judges), *_python(texts, resampling))
    whole = (*whole, _clair(texts, resampling, judges.clair))
    names = sorted({record.group for record in records})
    sections = [Section("", len(records), whole)]
    for name in names if len(names) > 1 else ():
        mine = [record for record in records if record.group == name]
        sections.append(Section(name, len(mine), _grounding(mine, resampling, similarity)))
    told = {"phrases": similarity.name, "clair": judges.clair.name if judges.clair else "none"}
    told |= {"meteor": caption_scores.METEOR_PUBLISHED, "meteor_stems": caption_scores.METEOR_STEMS}
    told |= {"cider": caption_scores.CIDER_PUBLISHED, "cider_treebank": caption_scores.CIDER_TREEBANK}
    return Part(tuple(sections), tuple(_notes(similarity)), told)


def _notes(similarity: TextSimilarity) -> list[str]:
    notes = [
        "published: captions hold system prompt and question, as the published scorer reads them; corrected: the answer alone.",
        "published METEOR is one score of the whole set, from summed counts, without an interval; corrected is a mean of captions.",
        "A caption that was not given scores 0 when corrected. CLAIR: our wording, temperature 0, in both modes; the judge of the"
        " tables was gpt-3.5-turbo. A pair for which the judge gave no score is left out and counted.",
        "Both: frames at source size, not shrunk to 224 pixels.",
    ]
    if similarity.name != PUBLISHED_ENCODER:
        notes.append(f"Phrases are compared by {similarity.name}; the tables' encoder was {PUBLISHED_ENCODER}.")
    return notes


def _grounding(records: Sequence[Record], resampling: Resampling, similarity: TextSimilarity) -> tuple[Row, ...]:
    numbers = []
    for mode in MODES:
        try:
            found = [
                _matched(record, mode, similarity) for record in records if mode == "corrected" or record.published is not None
            ]
            numbers.append(ratio(RECALL, found, resampling, none="no true phrase"))
        except EnvironmentProblem as problem:
            numbers.append(not_computed(problem.got))
    return mean_row(MIOU, records, resampling), Row(RECALL, *numbers)


def _matched(record: Record, mode: str, similarity: TextSimilarity) -> tuple[float, float, str]:
    """(phrases found, true phrases, video)."""
    truth, said = record.detail["truth"]["phrases"], record.detail[mode]
    if said is None or not truth or not said["phrases"]:
        return 0.0, float(len(truth)), record.video
    overlap = matrix(said["overlap"], len(truth), np.nan if mode == "published" else 1.0)
    alike = similarity(truth, [phrase or "" for phrase in said["phrases"]])
    alike[:, [phrase is None for phrase in said["phrases"]]] = -1.0  # a mask without a phrase names nothing
    pairs = matches_published(overlap, alike) if mode == "published" else matches_corrected(overlap, alike)
    return float(len(pairs)), float(len(truth)), record.video


@dataclass(frozen=True)
class _Texts:
    """captions: None where the case was not answered."""

    references: list[str]
    captions: list[str | None]
    videos: list[str]

    @property
    def said(self) -> list[str]:
        return [caption or "" for caption in self.captions]


def _texts(records: Sequence[Record], mode: str) -> _Texts:
    mine: list[tuple[str, Any, str]] = [
        (record.detail["truth"]["caption"], record.detail[mode], record.video)
        for record in records
        if mode == "corrected" or record.published is not None
    ]
    captions = [None if said is None else str(said["caption"]) for _, said, _ in mine]
    return _Texts([reference for reference, _, _ in mine], captions, [video for _, _, video in mine])


def _java(texts: dict[str, _Texts], resampling: Resampling, judges: Judges) -> tuple[Row, ...]:
    """METEOR 1.5 and CIDEr on PTB words; both rows say why if there is no Java."""
    meteor, cider = [], []
    for mode in MODES:
        if not judges.java:
            meteor.append(not_computed("java is turned off"))
            cider.append(not_computed("java is turned off"))
            continue
        whole = mode == "published"
        meteor.append(_caption(METEOR, texts[mode], words.published_words, caption_scores.meteor_published, resampling, whole))
        cider.append(_caption(CIDER, texts[mode], words.published_words, caption_scores.cider, resampling))
    return Row(METEOR, *meteor), Row(CIDER, *cider)


def _python(texts: dict[str, _Texts], resampling: Resampling) -> tuple[Row, ...]:
    """What needs no Java, for the corrected captions; the published column has none of it."""
    none = not_computed("not a published measure")
    mine = texts["corrected"]
    stems = _caption(METEOR_STEMS, mine, words.treebank_words, caption_scores.meteor_stems, resampling)
    cider = _caption(CIDER_TREEBANK, mine, words.treebank_words, caption_scores.cider, resampling)
    return Row(METEOR_STEMS, none, stems), Row(CIDER_TREEBANK, none, cider)


def _caption(
    measure: Measure, texts: _Texts, tokenize: words.Tokenizer, score: Scorer, resampling: Resampling, whole: bool = False
) -> Number:
    """The mean over captions with its interval or, for ``whole``, the program's own number for the set."""
    if not texts.references:
        return not_computed("no caption")
    try:
        found = score(tokenize(texts.references), tokenize(texts.said))
    except EnvironmentProblem as problem:
        return not_computed(problem.got)
    if whole:
        return Number(found.whole, n=len(found.each))
    return ratio(measure, [(value, 1.0, video) for value, video in zip(found.each, texts.videos, strict=True)], resampling)


def _clair(texts: dict[str, _Texts], resampling: Resampling, judge: Clair | None) -> Row:
    return Row(CLAIR, *(_judged(texts[mode], resampling, judge) for mode in MODES))


def _judged(texts: _Texts, resampling: Resampling, judge: Clair | None) -> Number:
    if judge is None:
        return not_computed("no endpoint")
    asked = [i for i, caption in enumerate(texts.captions) if caption]
    try:
        judgement = judge.judge([texts.references[i] for i in asked], [texts.said[i] for i in asked])
    except EnvironmentProblem as problem:
        return not_computed(problem.got)
    given = dict(zip(asked, judgement.scores, strict=True))
    scores = [(given.get(i, 0.0), video) for i, video in enumerate(texts.videos)]
    note = f"{judgement.errors} pairs without a score left out" if judgement.errors else ""
    return ratio(CLAIR, [(score / 100, 1.0, video) for score, video in scores if score is not None], resampling, note)
