import shutil

import pytest

from vglamm.errors import EnvironmentProblem
from vglamm.metrics.words import published_words, treebank_words

TEXTS = [
    "A man rides a bike, down the street. The dog's tail is wagging; it isn't happy: \"why?\"",
    "",
    "two dogs\nrun\u2028fast",
]
WORDS = [
    "a man rides a bike down the street the dog 's tail is wagging it is n't happy why",
    "",
    "two dogs run fast",
]
JAVA = pytest.mark.skipif(shutil.which("java") is None, reason="needs java")


def test_treebank_words():
    assert treebank_words(TEXTS) == WORDS
    assert treebank_words(["(a red) car - fast"]) == ["a red car fast"]


def test_a_long_text_is_cut():
    assert len(treebank_words(["a " * 3000])[0].split()) == 1000


@JAVA
def test_published_words_are_those_of_the_published_wrapper():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = [*TEXTS[:2], "A man (in red) walks — slowly... to the U.S. café!"]
    assert published_words([*texts, TEXTS[2]])[3] == WORDS[2]
    wrapped = PTBTokenizer().tokenize({number: [{"caption": text}] for number, text in enumerate(texts)})
    assert published_words(texts) == [wrapped[number][0] for number in range(len(texts))]
    assert published_words(texts)[:2] == WORDS[:2]


def test_without_java_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"no java.*jre"):
        published_words(["a"])
