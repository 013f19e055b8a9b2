import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.metrics.cases import answered, block, case_of, failed
from vglamm.annotation import Annotation
from vglamm.data.corpora.case import Case
from vglamm.errors import ConfigError, CorpusError, EnvironmentProblem
from vglamm.metrics import conversation_report, words
from vglamm.metrics.clair import Clair, Judgement
from vglamm.metrics.conversation import score_conversation
from vglamm.metrics.conversation_report import Judges, summarise_conversations
from vglamm.metrics.score import Number, Part, Record, Resampling

LEFT, RIGHT, MIDDLE = (10, 10, 20, 20), (10, 50, 20, 60), (10, 30, 20, 40)
CAPTION = "A man rides a bike"
RAW = "<p> A man </p> [SEG] rides <p> a bike </p> [SEG]"
QUICK, OFFLINE = Resampling(resamples=50), Judges("exact", java=False)


def talk(name: str = "mevis_gcg/valid_u/v", caption: str = CAPTION, **more) -> Case:
    return case_of(block(3, LEFT, RIGHT), name, phrases=("a man", "a bike"), caption=caption, video=name, **more)


def says(case: Case, *places, raw: str = RAW) -> Annotation:
    return answered(case, block(3, *places), raw=raw)


def number(part: Part, measure: str, mode: str = "corrected", section: int = 0) -> Number:
    return next(getattr(row, mode) for row in part.sections[section].rows if row.measure.key == measure)


def test_a_perfect_answer():
    record = score_conversation(talk(), says(talk(), LEFT, RIGHT))
    assert record.published == record.corrected == {"miou": 1}
    assert record.group == "mevis_gcg"
    assert record.detail["corrected"] == {"caption": CAPTION, "phrases": ["A man", "a bike"], "overlap": [[1, 0], [0, 1]]}
    assert record.detail["published"]["caption"] == f"You are a helpful AI assistant. What? {CAPTION}"
    assert Record.from_row(json.loads(json.dumps(record.to_row()))) == record


def test_a_miss_and_a_spare_mask_are_free_when_published():
    record = score_conversation(talk(), says(talk(), LEFT, raw="<p> A man </p> [SEG] walks"))
    assert (record.published["miou"], record.corrected["miou"]) == (1, 0.5)
    raw = RAW + " past <p> a dog </p> [SEG]"
    record = score_conversation(talk(), says(talk(), LEFT, RIGHT, MIDDLE, raw=raw))
    assert (record.published["miou"], record.corrected["miou"]) == (1, pytest.approx(2 / 3))


def test_fewer_masks_than_phrases_are_an_exception_when_published():
    record = score_conversation(talk(), says(talk(), LEFT, raw="<p> A man </p> [SEG] rides <p> a bike </p>"))
    assert (record.published["miou"], record.corrected["miou"]) == (0, 0.5)
    assert record.detail["published"] == {"caption": "", "phrases": [], "overlap": [[], []]}


def test_masks_beyond_the_phrases_are_not_seen_when_published():
    record = score_conversation(talk(), says(talk(), LEFT, RIGHT, raw="<p> A man </p> [SEG] [SEG] rides"))
    assert record.detail["published"]["overlap"] == [[1], [0]]
    assert record.detail["corrected"]["phrases"] == ["A man", None]


def test_small_parts_are_removed_when_published():
    masks = block(3, LEFT, (30, 0, 33, 6))  # 18 pixels
    record = score_conversation(talk(), answered(talk(), masks, raw=RAW))
    assert record.detail["published"]["overlap"] == record.detail["corrected"]["overlap"] == [[1, 0], [0, 0]]
    case = case_of(np.zeros_like(masks), phrases=("a man", "a bike"), caption=CAPTION)
    record = score_conversation(case, answered(case, masks, raw=RAW))
    assert record.detail["published"]["overlap"] == [[0, None], [0, None]]
    assert record.published["miou"] == 0


def test_masks_of_nothing_asked_for_are_wrong():
    case = case_of(block(3), "mevis_gcg/valid_u/v", phrases=(), caption="An empty street")
    assert score_conversation(case, says(case, LEFT, raw="<p> A man </p> [SEG]")).corrected == {"miou": 0}
    assert score_conversation(case, says(case, raw="An empty street")).corrected == {"miou": 1}


def test_a_failed_case_keeps_its_phrases_and_caption():
    for annotation in (failed(talk()), None):
        record = score_conversation(talk(), annotation)
        assert (record.published, record.corrected) == (None, {"miou": 0})
        assert record.detail["truth"] == {"phrases": ["a man", "a bike"], "caption": CAPTION}
    broken = talk(problem=CorpusError("no file", "a file", "get it"))
    assert score_conversation(broken, None).left_out == "CorpusError"
    with pytest.raises(ConfigError, match="server"):
        score_conversation(replace(talk(), truth=replace(talk().truth, masks_of=None)), None)


def some_records() -> list[Record]:
    a, b, c = talk("mevis_gcg/x/a"), talk("mevis_gcg/x/b"), talk("video_gcg/x/c", caption="Two red cars")
    wrong = "<p> A dog </p> [SEG] chases <p> a bike </p> [SEG]"
    return [
        score_conversation(a, says(a, LEFT, RIGHT)),
        score_conversation(b, says(b, LEFT, RIGHT, raw=wrong)),
        score_conversation(c, failed(c)),
    ]


def test_the_summary():
    part = summarise_conversations(some_records(), QUICK, OFFLINE)
    assert [(section.group, section.cases) for section in part.sections] == [("", 3), ("mevis_gcg", 2), ("video_gcg", 1)]
    assert (number(part, "miou", "published").value, number(part, "miou").value) == (100, pytest.approx(200 / 3))
    # published stops at the first pair whose text fails, which for b is the first of all
    assert (number(part, "recall", "published").value, number(part, "recall").value) == (0.5, 0.5)
    assert (number(part, "recall", "published").n, number(part, "recall").n) == (2, 3)
    assert number(part, "recall", section=2).value == 0
    assert part.judges["phrases"] == "exact"
    # equal captions but for the penalty of one chunk of five, and 0 for the failed case
    assert number(part, "meteor_stems").n == 3
    assert 0 < number(part, "meteor_stems").value < 2 / 3
    assert number(part, "cider_treebank").value > 0
    assert number(part, "cider_treebank", "published").note == "not computed: not a published measure"


def test_what_a_machine_lacks_is_said(monkeypatch, tmp_path):
    part = summarise_conversations(some_records(), QUICK, OFFLINE)
    for mode in ("published", "corrected"):
        assert number(part, "meteor", mode).note == "not computed: java is turned off"
        assert number(part, "clair", mode).note == "not computed: no endpoint"
    monkeypatch.setenv("PATH", str(tmp_path))
    part = summarise_conversations(some_records(), QUICK, Judges(str(tmp_path / "none")))
    assert number(part, "meteor").note == number(part, "cider", "published").note == "not computed: no java"
    assert "none" in number(part, "recall").note
    assert number(part, "recall").value is None
    assert number(part, "miou").value is not None


def test_the_published_meteor_is_of_the_set_and_the_corrected_one_of_captions(monkeypatch):
    asked = []

    def meteor(references, captions):
        asked.append(captions)
        return conversation_report.CaptionScore(0.3, tuple(0.6 if caption else 0.0 for caption in captions))

    monkeypatch.setattr(words, "published_words", list)
    monkeypatch.setattr(conversation_report.caption_scores, "meteor_published", meteor)
    part = summarise_conversations(some_records(), QUICK, Judges("exact"))
    assert asked == [
        [f"You are a helpful AI assistant. What? {CAPTION}", "You are a helpful AI assistant. What? A dog chases a bike"],
        [CAPTION, "A dog chases a bike", ""],
    ]
    published, corrected = number(part, "meteor", "published"), number(part, "meteor")
    assert (published.value, published.low, published.n) == (0.3, None, 2)
    assert (corrected.value, corrected.n) == (pytest.approx(0.4), 3)


class Scripted(Clair):
    """A judge that needs no server."""

    def judge(self, references, captions):
        if "refuse" in self.model:
            raise EnvironmentProblem("HTTP 401 from the judge", "a chat completion", "check the key")
        return Judgement(tuple(90.0 if "man" in caption else None for caption in captions))


def test_clair_leaves_out_what_was_not_judged_and_counts_what_was_not_answered():
    part = summarise_conversations(some_records(), QUICK, replace(OFFLINE, clair=Scripted("http://here", "j")))
    corrected = number(part, "clair")
    assert (corrected.value, corrected.n) == (pytest.approx(45), 2)
    assert corrected.note == "1 pairs without a score left out"
    assert number(part, "clair", "published").value == pytest.approx(90)
    assert part.judges["clair"] == "CLAIR by j, temperature 0"
    part = summarise_conversations(some_records(), QUICK, replace(OFFLINE, clair=Scripted("http://here", "refuse")))
    assert number(part, "clair").note == "not computed: HTTP 401 from the judge"
