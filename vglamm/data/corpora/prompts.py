"""How the published evaluation asks, task by task: an answer depends on the wording, so ours is the same."""

from __future__ import annotations

DESCRIBE = (
    "Could you please give me a detailed description of the video? Please respond with interleaved segmentation masks for the"
    " corresponding parts of the answer."
)
_VIDEO = "What is {phrase} in this video? Please respond with segmentation masks."
_IMAGE = "What is {phrase} in this image? Please output segmentation mask."
_SENTENCE = "{sentence} Please output segmentation mask."
_INTERROGATIVE = "{caption} Please respond with segmentation masks."
_DECLARATIVE = "Can you segment {caption} in this video?"

INTERROGATIVE, DECLARATIVE = "interrogative", "declarative"


def refer_video(expression: str) -> str:
    """MeViS, Ref-YouTube-VOS, Ref-DAVIS17. The expression is lower-cased and its white space is made single blanks."""
    return _VIDEO.format(phrase=expression_text(expression))


def expression_text(expression: str) -> str:
    """An expression as it is asked for: lower case, single blanks."""
    return " ".join(expression.lower().split())


def refer_image(expression: str) -> str:
    """RefCOCO and its kin, and phrases of ReasonSeg."""
    return _IMAGE.format(phrase=expression.strip())


def reason(sentence: str) -> str:
    """ReasonSeg, where the text is a sentence of its own."""
    return _SENTENCE.format(sentence=sentence.strip())


def locate(caption: str, kind: str) -> str:
    """VidSTG and HC-STVG. kind: :data:`INTERROGATIVE` (the caption is a question) or :data:`DECLARATIVE`; not lower-cased."""
    return (_INTERROGATIVE if kind == INTERROGATIVE else _DECLARATIVE).format(caption=caption)
