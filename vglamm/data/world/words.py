"""The closed language of the generated world: names, attributes, motions and the templates of questions and answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vglamm.data.sample import PHRASE_CLOSE, PHRASE_OPEN, SEG

ASSETS = Path(__file__).parent / "assets"

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 40),
    "green": (40, 165, 60),
    "blue": (40, 80, 225),
    "yellow": (250, 225, 40),
    "purple": (145, 50, 190),
    "orange": (250, 135, 20),
    "cyan": (45, 215, 225),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "big")
THINGS: tuple[str, ...] = tuple(json.loads((ASSETS / "things.json").read_text(encoding="utf-8"))["names"])

STILL = "stands still"
DIRECTIONS: dict[str, tuple[int, int]] = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}
MOTIONS = (*DIRECTIONS, STILL, "grows", "shrinks", "spins")
RELATIONS: dict[str, tuple[int, int]] = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}

KINDS = ("look", "motion", "relation", "description", "when", "absent")
KIND_WEIGHTS = {"look": 0.3, "motion": 0.15, "relation": 0.15, "description": 0.2, "when": 0.1, "absent": 0.1}
VIDEO_ONLY = ("motion", "when")

LLM_FRAMES = 8
"""Frames that the language model sees of a video; "when" answers count in them."""

# {np}: "red circle". Questions of one tuple share one answer form unless a table says otherwise, so that the answer is a
# function of the question and the video.
LOOK_QUESTIONS = ("Segment the {np}.", "Where is the {np}?", "Show the {np}.")
MOTION_QUESTIONS = ("Which {np} {motion}?", "Segment the {np} that {motion}.", "Where is the {np} that {motion}?")
MOTION_LESSON = "Segment what {motion}."
ORDER_LESSON = "Describe what is {relation} the {np}."
RELATION_QUESTIONS = ("What is {relation} the {np}?", "Segment what is {relation} the {np}.")
DESCRIBE_QUESTIONS = ("Describe the {medium}.", "What is in the {medium}?")
DESCRIBE_MOTION_QUESTIONS = ("Describe what moves.", "What moves in the video?")
WHEN_QUESTIONS = ("When is the {np} visible?", "In which frames is the {np} visible?")

LOOK_ANSWER = "It is {phrase}."
SHOW_ANSWER = "Here is {phrase}."
RELATION_ANSWER = "{phrase} is {relation} the {np}."
DESCRIBE_ANSWER = "There is {phrases}."
WHEN_ANSWER = "{phrase} is visible in frames:({start},{end})."
ABSENT_ANSWER = "There is no {np} in the {medium}."
MEDIA = ("video", "image")
ARTICLES = ("a", "an", "the", "A", "An", "The")

_PIECE = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]")


def grounded(phrase: str) -> str:
    """The phrase with its tags and its ``[SEG]``."""
    return f"{PHRASE_OPEN} {phrase} {PHRASE_CLOSE} {SEG}"


def with_article(noun_phrase: str) -> str:
    """ "a red circle", "an orange star"."""
    return f"{'an' if noun_phrase[0] in 'aeio' or noun_phrase.startswith('umb') else 'a'} {noun_phrase}"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def joined(parts: list[str]) -> str:
    """ "x", "x and y", "x, y and z"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def pieces(text: str) -> list[str]:
    """Splits a text of the world into words, single digits and punctuation marks; the tags are left out."""
    for tag in (PHRASE_OPEN, PHRASE_CLOSE, SEG):
        text = text.replace(tag, " ")
    return _PIECE.findall(text)


def vocabulary() -> list[str]:
    """Every piece that a question or an answer of the world can hold, sorted; without ``<p>``, ``</p>`` and ``[SEG]``."""
    templates = (
        *LOOK_QUESTIONS, *MOTION_QUESTIONS, *RELATION_QUESTIONS, *DESCRIBE_QUESTIONS, *DESCRIBE_MOTION_QUESTIONS, *WHEN_QUESTIONS,
        LOOK_ANSWER, SHOW_ANSWER, RELATION_ANSWER, DESCRIBE_ANSWER, WHEN_ANSWER, ABSENT_ANSWER,
    )  # fmt: skip
    texts = [re.sub(r"\{\w+\}", " ", template) for template in templates]
    texts += [*COLOURS, *SHAPES, *TEXTURES, *SIZES, *THINGS, *MOTIONS, *RELATIONS, *MEDIA, *ARTICLES, "x, y and z that"]
    texts += [str(digit) for digit in range(LLM_FRAMES + 1)]
    return sorted({piece for text in texts for piece in pieces(text)} - {"x", "y", "z"})
