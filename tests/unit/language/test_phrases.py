"""A reply is read as a person would, and no reply can make the reader fail."""

import pytest

from vglamm.language.phrases import parse_moments, parse_reply


def spans(raw: str) -> list[str | None]:
    return [phrase.text for phrase in parse_reply(raw).phrases]


def test_reply_as_trained() -> None:
    reply = parse_reply("<p> a man </p> [SEG] rides <p> a bike </p> [SEG].")
    assert reply.text == "a man rides a bike."
    assert [(p.text, p.start, p.end, p.track) for p in reply.phrases] == [("a man", 0, 5, 0), ("a bike", 12, 18, 1)]
    assert reply.warnings == ()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("", ""),
        ("It is [SEG].", "It is."),
        ("[SEG]", ""),
        ("  Sure ,  it is [SEG] . ", "Sure, it is."),
        ("<p>a man</p>[SEG]rides<p>a bike</p>[SEG].", "a man rides a bike."),
        ('He said "<p> a man </p> [SEG]" twice.', 'He said "a man" twice.'),
        ("( <p> a man </p> [SEG] )", "(a man)"),
        ("<p> the man </p> [SEG] 's bike", "the man's bike"),
        ("<p> the man </p> [SEG]'s bike", "the man's bike"),
        ("about .5 seconds", "about .5 seconds"),
        ("First.<p> A man </p> [SEG] walks", "First. A man walks"),
        ("1. <p> a man </p>\n[SEG]\n2. <p> a dog </p> [SEG]\n\n\n\nEnd", "1. a man\n2. a dog\n\nEnd"),
        ("frames:(2,5)", "frames:(2,5)"),
        ("a <q>tag</q> [seg] stays", "a <q>tag</q> [seg] stays"),
    ],
)
def test_text_reads_naturally(raw: str, text: str) -> None:
    assert parse_reply(raw).text == text


@pytest.mark.parametrize(
    ("raw", "phrases"),
    [
        ("It is [SEG].", [None]),
        ("[SEG] <p> a man </p>", [None]),
        ("<p> a man </p> [SEG] [SEG]", ["a man", None]),
        ("<p> a man </p> and <p> a dog </p> [SEG] [SEG] [SEG]", ["a dog", "a man", None]),
        ("<p> a man </p> and <p> a dog </p> [SEG] <p> a cat </p> [SEG] [SEG]", ["a dog", "a cat", "a man"]),
        ("<p> a man </p> <p> </p> [SEG]", [None]),
        ("<p> a <p> b </p> </p> [SEG]", ["b"]),
        ("<p> a man [SEG] rides", [None]),
        ("a </p> [SEG]", [None]),
    ],
)
def test_seg_takes_the_nearest_closed_phrase_that_is_free(raw: str, phrases: list[str | None]) -> None:
    reply = parse_reply(raw)
    assert [phrase.text for phrase in reply.phrases] == phrases
    assert [phrase.track for phrase in reply.phrases] == list(range(len(phrases)))


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ("<p> a <p> b </p> [SEG]", "inside an open <p>"),
        ("<p> a man", "never closed"),
        ("a man </p> [SEG]", "without <p>"),
        ("<p> </p> [SEG]", "empty phrase"),
        ("<p> a [SEG] </p>", "[SEG] inside an open"),
        ("<p> a man </p> walks", "'a man' has no [SEG]"),
    ],
)
def test_broken_tags_are_warnings(raw: str, part: str) -> None:
    assert any(part in warning for warning in parse_reply(raw).warnings)


TIMES = (0.0, 1.0, 2.5, 3.0)


@pytest.mark.parametrize(
    ("raw", "moments", "part"),
    [
        ("It is in frames:(1,3).", ((1.0, 3.0),), None),
        ("frames:(0,4)", ((0.0, 4.5),), None),
        ("frames:(0,1) and frames: ( 2 , 3 )", ((0.0, 1.0), (2.5, 3.0)), None),
        ("no moment", (), None),
        ("frames:(2,9)", ((2.5, 4.5),), "clipped to (2,4)"),
        ("frames:(-3,2)", ((0.0, 2.5),), "clipped to (0,2)"),
        ("frames:(3,1)", (), "reversed"),
        ("frames:(2,2)", (), "empty"),
        ("frames:(7,9)", (), "outside"),
        ("frames:(one,2)", (), "broken"),
        ("frames:(1,99999999999999999999)", (), "broken"),
    ],
)
def test_moments(raw: str, moments: tuple[tuple[float, float], ...], part: str | None) -> None:
    found, warnings = parse_moments(raw, TIMES, 4.5)
    assert found == moments
    assert (len(warnings) == 1 and part in warnings[0]) if part else warnings == ()


def test_moment_of_a_repeated_last_frame_ends_with_the_video() -> None:
    assert parse_moments("frames:(1,3)", (0.0, 1.0, 1.0, 1.0), 2.0) == (((1.0, 2.0),), ())


def test_moment_without_frames_is_a_warning() -> None:
    found, warnings = parse_moments("frames:(0,1)", (), 2.0)
    assert found == ()
    assert "0 frames" in warnings[0]
