"""Whatever a model writes, the reader answers, spans are exact and no tag is left."""

from hypothesis import given
from hypothesis import strategies as st

from vglamm.language.phrases import parse_moments, parse_reply

WORDS = st.sampled_from(
    ["<p>", "</p>", "[SEG]", " ", "\n", "a man", "bike", ".", ",", "(", ")", '"', "'s", "frames:(1,2)", "é", "<", "p>"]
)
RAW = st.one_of(st.text(), st.lists(WORDS, max_size=30).map("".join))


@given(RAW)
def test_spans_are_exact_and_every_seg_has_its_track(raw: str) -> None:
    reply = parse_reply(raw)
    assert [phrase.track for phrase in reply.phrases] == list(range(raw.count("[SEG]")))
    for phrase in reply.phrases:
        if phrase.text is None:
            assert phrase.start is None
            assert phrase.end is None
        else:
            assert reply.text[phrase.start : phrase.end] == phrase.text
            assert phrase.text == phrase.text.strip() != ""
    taken = [phrase.start for phrase in reply.phrases if phrase.start is not None]
    assert len(set(taken)) == len(taken)


@given(RAW)
def test_text_keeps_every_letter_and_no_double_space(raw: str) -> None:
    text = parse_reply(raw).text
    bare = raw.replace("[SEG]", " ")
    for tag in ("</p>", "<p>"):
        bare = bare.replace(tag, " ")
    if not any(tag in bare for tag in ("<p>", "</p>", "[SEG]")):
        assert "".join(text.split()) == "".join(bare.split())
    assert "  " not in text
    assert text == text.strip()


@given(
    st.lists(st.tuples(st.integers(-5, 40), st.integers(-5, 40)), max_size=4),
    st.lists(st.floats(0, 100), max_size=20).map(sorted),
    st.floats(0, 200),
)
def test_moments_lie_in_the_video(pairs: list[tuple[int, int]], times: list[float], end_time: float) -> None:
    moments, warnings = parse_moments(" ".join(f"frames:({s},{e})" for s, e in pairs), times, end_time)
    assert len(moments) + len(warnings) >= len(pairs)
    for start, end in moments:
        assert times[0] <= start <= end <= max(end_time, times[-1])
