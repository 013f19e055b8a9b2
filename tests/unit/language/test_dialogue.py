"""Dialogues as text: what stands between two control words says nothing of turns or frames."""

from __future__ import annotations

import pytest

from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.errors import DialogueError
from vglamm.language.dialogue import CONTROL, Scribe
from vglamm.presets import preset

QUESTION = "Where is the FIRST question?"


@pytest.fixture(scope="module")
def scribe() -> Scribe:
    return Scribe(build_tokenizer(), preset("tiny").language)


@pytest.mark.parametrize("word", CONTROL)
def test_control_words_are_refused_wherever_they_stand(scribe: Scribe, word: str) -> None:
    for history, question in (((), f"a {word} b"), (((f"a {word} b", "yes"),), "and?")):
        with pytest.raises(DialogueError, match="with '<"):
            scribe.ask(history, question, visual=20, frames=8)
    with pytest.raises(DialogueError, match="an answer with '<"):
        scribe.teach([(QUESTION, f"a {word} b"), ("and?", "yes")], visual=20, frames=8)


@pytest.mark.parametrize("word", CONTROL)
def test_control_words_of_earlier_answers_are_words(scribe: Scribe, word: str) -> None:
    """The model may spell them, and the dialogue goes on."""
    found, plain = (scribe.ask(((QUESTION, f"a {one} b"),), "and?", visual=20, frames=8) for one in (word, f"< {word[1:-1]} >"))
    assert found.ids.tolist() == plain.ids.tolist()


@pytest.mark.parametrize("answer", ["Here is <p> the dog </p> [SEG].", "frames:(1,3)", " a < b | c > d ", ""])
def test_answers_are_read_as_they_were_written(scribe: Scribe, answer: str) -> None:
    dialogue = scribe.ask(((QUESTION, answer),), "and?", visual=20, frames=8)
    tail = scribe.tokenizer.decode(dialogue.ids[dialogue.start + dialogue.visual :], skip_special_tokens=False)
    wanted = f"\n{QUESTION}<|end|>\n<|assistant|>\n{answer}<|end|>\n<|user|>\nand?<|end|>\n<|assistant|>\n"
    assert tail == scribe.tokenizer.decode(scribe.tokenizer(wanted)["input_ids"])
    assert all(said in tail for said in ("FIRST", "<|assistant|>", "and?"))
