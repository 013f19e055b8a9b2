"""Text for people, piece by piece: what was shown stays, and the whole is the answer's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.http.chat_wire import Written
from vglamm.language.phrases import parse_reply

PIECES = st.lists(
    st.sampled_from(["<p>", "</p>", "[SEG]", "<", "p>", "/", "[", "SEG]", " ", "\n", "a", "b c", ".", ", ", "<5", "'s"])
)


@given(PIECES)
def test_pieces_add_up_to_the_text_of_the_answer(pieces: list[str]) -> None:
    written = Written()
    shown = "".join(written.add(piece) for piece in pieces)
    whole = parse_reply("".join(pieces)).text
    assert shown + written.finish(whole) == whole


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("<p> a cat", "a cat"), ("a <", "a"), ("a <p", "a"), ("a [SE", "a"), ("a [SEG]", "a"), ("a <b and c", "a <b and c")],
)
def test_what_may_become_a_tag_waits(raw: str, shown: str) -> None:
    assert Written().add(raw) == shown
