"""METEOR and CIDEr of captions against one reference each.

- ``meteor_published``: METEOR 1.5 (Denkowski and Lavie, 2014), the Java program in pycocoevalcap, on PTB words. It matches words,
  stems, WordNet synonyms and paraphrases. Its score of a set is made of summed counts and is not the mean over captions.
- ``meteor_stems``: the METEOR of Lavie and Agarwal (2007; alpha .9, beta 3, gamma .5) by nltk, on words and Porter stems alone,
  without synonyms and paraphrases: lower than METEOR 1.5 where a caption says the same in other words. For machines without Java.
- ``cider``: CIDEr-D without the cut of counts (as pycocoevalcap, whose code does it; Vedantam et al., 2015), 0..10. A rare word
  weighs more, and what is rare is counted over the references given: a score holds for its set alone, and a set of one scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vglamm.errors import EnvironmentProblem
from vglamm.metrics.words import java

METEOR_PUBLISHED = "METEOR 1.5 (Java, pycocoevalcap), PTB words"
METEOR_STEMS = "METEOR 2007 (nltk; exact and Porter stem matches, no synonyms), Treebank words by nltk"
CIDER_PUBLISHED = "CIDEr (pycocoevalcap), PTB words"
CIDER_TREEBANK = "CIDEr (pycocoevalcap), Treebank words by nltk"


@dataclass(frozen=True)
class CaptionScore:
    """whole: score of the set. each: of every caption, in order."""

    whole: float
    each: tuple[float, ...]


def meteor_published(references: Sequence[str], captions: Sequence[str]) -> CaptionScore:
    """METEOR 1.5 of texts from :func:`vglamm.metrics.words.published_words`, 0..1; takes seconds to start and 2 GB.

    EnvironmentProblem without java or pycocoevalcap, or if the program ends early.
    """
    java()
    truth, said = _keyed(references), _keyed(captions)
    if not truth:
        return CaptionScore(0.0, ())
    try:
        from pycocoevalcap.meteor.meteor import Meteor
    except ImportError as error:
        raise EnvironmentProblem("no pycocoevalcap", "pycocoevalcap for published scores", "pip install 'vglamm[eval]'") from error
    try:
        judge = Meteor()
        try:
            whole, each = judge.compute_score(truth, said)
        finally:
            for pipe in (judge.meteor_p.stdout, judge.meteor_p.stderr):  # the rest is closed when the judge is dropped
                pipe.close()
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(f"METEOR that failed ({error})", "a score", "check that java runs and has 2 GB") from error
    return CaptionScore(float(whole), tuple(float(score) for score in each))


def meteor_stems(references: Sequence[str], captions: Sequence[str]) -> CaptionScore:
    """The mean and each caption's METEOR of 2007, 0..1, of texts of words. EnvironmentProblem without nltk."""
    try:
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError as error:
        raise EnvironmentProblem("no nltk", "nltk for caption scores", "pip install 'vglamm[eval]'") from error
    each = tuple(
        float(single_meteor_score(truth.split(), said.split(), wordnet=_NoSynonyms()))
        for truth, said in zip(references, captions, strict=True)
    )
    return CaptionScore(sum(each) / max(len(each), 1), each)


def cider(references: Sequence[str], captions: Sequence[str]) -> CaptionScore:
    """The mean and each caption's CIDEr, 0..10, of texts of words. EnvironmentProblem without pycocoevalcap."""
    try:
        from pycocoevalcap.cider.cider import Cider
    except ImportError as error:
        raise EnvironmentProblem("no pycocoevalcap", "pycocoevalcap for CIDEr", "pip install 'vglamm[eval]'") from error
    truth, said = _keyed(references), _keyed(captions)
    if not any(references):  # nothing can be found where nothing is to be said
        return CaptionScore(0.0, (0.0,) * len(references))
    whole, each = Cider().compute_score(truth, said)
    return CaptionScore(float(whole), tuple(float(score) for score in each))


class _NoSynonyms:
    """Stands where nltk wants WordNet, whose data cannot be had offline: no word has a synonym."""

    def synsets(self, word: str) -> list[object]:
        return []


def _keyed(texts: Sequence[str]) -> dict[int, list[str]]:
    return {number: [text] for number, text in enumerate(texts)}
