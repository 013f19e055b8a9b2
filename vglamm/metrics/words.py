"""Words of a caption, as captions are compared: lower case, Penn Treebank, without punctuation.

*published* is the PTBTokenizer of Stanford CoreNLP 3.4.1, a Java program that pycocoevalcap carries, called with its options. The
pure-Python one is nltk's Treebank tokenizer on each sentence; it differs on rare things (quotes, brackets, abbreviations), so a
score names which one it used.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from vglamm.errors import EnvironmentProblem

Tokenizer = Callable[[Sequence[str]], list[str]]
"""N texts to N texts of words between single blanks."""

LONGEST = 2000
"""Characters of a text that are read; the published scorer cuts there."""
PUNCTUATION = frozenset(["''", "'", "``", "`", '"', *"()[]{}", *".?!,:;-", "--", "...", "—", "–", "…"])
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PATIENCE = 600.0  # seconds for a whole set of captions


def java() -> str:
    """Path of ``java``. EnvironmentProblem if there is none."""
    found = shutil.which("java")
    if found is None:
        raise EnvironmentProblem(
            "no java", "a Java runtime for METEOR 1.5 and the PTB tokenizer", "install one, on Debian default-jre-headless"
        )
    return found


def published_words(texts: Sequence[str]) -> list[str]:
    """By the PTBTokenizer. EnvironmentProblem without java or pycocoevalcap, or if the program fails."""
    program = java()
    try:
        from pycocoevalcap.tokenizer import ptbtokenizer
    except ImportError as error:
        raise EnvironmentProblem("no pycocoevalcap", "pycocoevalcap for published scores", "pip install 'vglamm[eval]'") from error
    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    name = "edu.stanford.nlp.process.PTBTokenizer"
    command = [program, "-cp", str(jar), name, "-preserveLines", "-lowerCase", "-encoding", "utf-8"]
    lines = "".join(f"{_line(text)}\n" for text in texts)
    try:
        done = subprocess.run(command, input=lines.encode(), capture_output=True, check=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentProblem(f"a tokenizer that failed ({error})", f"words from {name}", "check that java runs") from error
    found = done.stdout.decode().split("\n")[: len(texts)]
    if len(found) != len(texts):
        raise EnvironmentProblem(f"{len(found)} lines for {len(texts)} texts", "one for each", "check that java runs")
    # its list holds -LRB-, but the words are lower case by now: brackets stay, as they do in every published score
    drop = frozenset(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.split() if word not in drop) for line in found]


def treebank_words(texts: Sequence[str]) -> list[str]:
    """By nltk, offline and without Java. EnvironmentProblem without nltk."""
    try:
        from nltk.tokenize import TreebankWordTokenizer
    except ImportError as error:
        raise EnvironmentProblem("no nltk", "nltk for caption scores", "pip install 'vglamm[eval]'") from error
    tokenizer = TreebankWordTokenizer()

    def words(text: str) -> list[str]:
        # it takes a full stop off the end of its input only, so it is given a sentence at a time
        return [word for sentence in _SENTENCE_END.split(_line(text)) for word in tokenizer.tokenize(sentence.lower())]

    return [" ".join(word for word in words(text) if word not in PUNCTUATION) for text in texts]


def _line(text: str) -> str:
    """At most :data:`LONGEST` characters without any kind of line break, which would shift all lines after it."""
    return " ".join(text[:LONGEST].split())
