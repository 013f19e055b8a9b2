"""Whatever was asked, written and seen: the answer comes back from its JSON as it was."""

import json
from pathlib import Path

import jsonschema
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.media.shapes import answer_about
from vglamm.answer import Answer

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "answer.schema.json").read_text())
PIECES = st.sampled_from(["<p> a man </p> ", "[SEG]", " rides ", "<p>", "frames:(0,2)", "é\u2028\x00", "</script>", "\n"])


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    raw = "".join(draw(st.lists(PIECES, max_size=12)))
    frames = draw(st.integers(1, 4))
    shape = (raw.count("[SEG]"), frames, draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    times = tuple(float(time) for time in np.cumsum(draw(st.lists(st.floats(0.01, 9.0), min_size=frames, max_size=frames))))
    return answer_about(draw(hnp.arrays(np.bool_, shape)), times, raw, draw(st.text()), draw(st.text()))


@settings(deadline=None)
@given(answers())
def test_round_trip(answer: Answer) -> None:
    text = answer.to_json()
    assert Answer.from_json(text) == answer
    assert Answer.from_json(text).to_json() == text
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
