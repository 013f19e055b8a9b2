"""Text to tokens: the conversation format, exactly N placeholders for the visual tokens, and where each ``[SEG]`` is predicted.

The format is the released model's (Phi-3 chat). Positions are known before the model runs: nothing is spliced in later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import DialogueError
from vglamm.language.config import LanguageConfig

SEG = "[SEG]"
IMAGE = "<image>"
SYSTEM = "You are a helpful AI assistant."
CONTROL = (IMAGE, "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
"""Words that say where turns and frames are: who wrote one in a question or an answer would change what others said."""
IGNORED = -100
Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Dialogue:
    """Tokens of a dialogue about one video.

    ids: int64[L] with ``visual`` placeholders (id 0) from ``start`` on. labels: int64[L], the id where the answer is
    supervised and -100 elsewhere; all -100 for a prompt. segs: positions whose hidden state predicts a ``[SEG]`` of an answer,
    in order.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    start: int
    visual: int
    segs: tuple[int, ...]


def render(turns: Turns, question: str | None, images: str) -> str:
    """The conversation as text: the turns so far and, for a prompt, the question that waits for its answer.

    images: what stands for the frames, ``<image>`` once for each, with its wrapping if the checkpoint wants one.
    """
    questions = [q for q, _ in turns] + ([] if question is None else [question])
    if not questions:
        raise DialogueError("a dialogue without a question", "at least one", "ask something")
    text = f"<|system|>\n{SYSTEM}<|end|>"
    for i, asked in enumerate(questions):
        text += f"\n<|user|>\n{images + chr(10) if i == 0 else ''}{_checked(asked)}<|end|>\n<|assistant|>\n"
        if i < len(turns):
            text += f"{_plain(turns[i][1], 'an answer')}<|end|>"
    return text


def images_text(frames: int, wrap: bool) -> str:
    """``<image>`` for each of the ``frames`` (0: a single image), in its start and end words if the checkpoint was trained so."""
    inside = IMAGE * max(frames, 1)
    if not wrap:
        return inside
    return f"<im_start>{inside}<im_end>" if frames == 0 else f"<vid_start>{inside}<vid_end>"


def _checked(question: str) -> str:
    question = question.strip()
    if not question:
        raise DialogueError("an empty question", "some text", "ask something")
    return _plain(question, "a question")


def _plain(text: str, what: str) -> str:
    """Phrases and ``[SEG]`` of an answer are no control words: the model reads its own as it wrote them."""
    for word in CONTROL:
        if word in text:
            raise DialogueError(f"{what} with {word!r}", "plain text", "leave the control words out")
    if halves := [letter for letter in text if "\ud800" <= letter <= "\udfff"]:  # bytes of another encoding, or half an emoji
        raise DialogueError(f"{what} with {halves[0]!r}, which is no letter", "text in UTF-8", "set the terminal to UTF-8")
    return text


def _broken(answer: str) -> str:
    for word in CONTROL:
        answer = answer.replace(word, f"{word[0]} {word[1:-1]} {word[-1]}")
    return answer


class Scribe:
    """Writes dialogues as tokens and reads tokens as text, with the checkpoint's own (fast) tokenizer of transformers."""

    def __init__(self, tokenizer: Any, config: LanguageConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        if (found := tokenizer.convert_tokens_to_ids(SEG)) != config.seg_token:
            raise DialogueError(
                f"a tokenizer where {SEG} is {found}", f"id {config.seg_token} as in the config", "take the checkpoint's tokenizer"
            )

    @cached_property
    def form(self) -> tuple[int, ...]:
        """The tokens in which a phrase of an answer is wrapped, around a letter."""
        return tuple(int(token) for token in self._piece(f"<p> x </p> {SEG}", first=False)[0])

    def ask(self, history: Turns, question: str, *, visual: int, frames: int) -> Dialogue:
        """The prompt for ``question`` after the turns of ``history``. visual: N; frames: T, 0 for an image. Control words that an
        earlier answer spells out, which who asks now can do nothing about, are read as ``< image >``."""
        told = [(asked, _broken(answer)) for asked, answer in history]
        return self._tokenise(render(told, question, images_text(frames, self.config.wrap_visual)), [], visual, 1)

    def teach(self, turns: Turns, *, visual: int, frames: int) -> Dialogue:
        """A dialogue with its answers supervised, their ``<|end|>`` included."""
        text = render(turns, None, images_text(frames, self.config.wrap_visual))
        spans, at = [], 0
        for _, answer in turns:
            if not answer.strip():
                raise DialogueError("an empty answer", "some text", "fix the sample")
            begin = text.index("<|assistant|>\n", at) + len("<|assistant|>\n")
            at = begin + len(answer) + len("<|end|>")
            spans.append((begin, at))
        dialogue = self._tokenise(text, spans, visual, 0)
        wanted = sum(answer.count(SEG) for _, answer in turns)
        if len(dialogue.segs) != wanted:
            raise DialogueError(
                f"{len(dialogue.segs)} {SEG} tokens for {wanted} in the answers", "equal numbers", "check the tokenizer"
            )
        return dialogue

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids of an answer -> text; stop ids are left out, ``[SEG]`` stays."""
        kept = [i for i in ids if i not in self.config.stop_tokens]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _tokenise(self, text: str, spans: list[tuple[int, int]], visual: int, room: int) -> Dialogue:
        """Text around the placeholders is tokenised piece by piece, as published; a BOS is kept once."""
        cut = text.index(IMAGE)
        resume = text.rindex(IMAGE) + len(IMAGE)
        head, _ = self._piece(text[:cut], first=True)
        tail, offsets = self._piece(text[resume:], first=False)
        self._check_length(len(head) + len(tail), visual, room)
        labels = np.full(len(tail), IGNORED, dtype=np.int64)
        for begin, end in spans:
            inside = [i for i, (a, b) in enumerate(offsets) if a >= begin - resume and b <= end - resume and b > a]
            labels[inside] = tail[inside]
        skip = np.full(len(head) + visual, IGNORED, dtype=np.int64)
        ids = np.concatenate([head, np.zeros(visual, dtype=np.int64), tail])
        whole = np.concatenate([skip, labels])
        segs = tuple(int(p) - 1 for p in np.flatnonzero((ids == self.config.seg_token) & (whole == self.config.seg_token)))
        return Dialogue(ids, whole, len(head), visual, segs)

    def _piece(self, text: str, *, first: bool) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
        coded = self.tokenizer(text, return_offsets_mapping=True)
        ids, offsets = list(coded["input_ids"]), list(coded["offset_mapping"])
        bos = self.tokenizer.bos_token_id
        if not first and ids and bos is not None and ids[0] == bos:
            ids, offsets = ids[1:], offsets[1:]
        return np.asarray(ids, dtype=np.int64), offsets

    def _check_length(self, words: int, visual: int, room: int) -> None:
        if words + visual + room > self.config.context:
            raise DialogueError(
                f"{words} text tokens and {visual} visual tokens",
                f"at most {self.config.context} together",
                "shorten the question or start a new dialogue",
            )
