"""What a reply means: its text without tags, the phrase behind each ``[SEG]``, and the moments it names. Plain strings, no torch.

The language part writes ``<p> a man </p> [SEG] rides <p> a bike </p> [SEG].``; a person should read "a man rides a bike." Models
make mistakes, so nothing here raises for what a reply contains: broken tags become warnings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vglamm.records import Phrase

OPEN, CLOSE, SEG = "<p>", "</p>", "[SEG]"

_PIECES = re.compile(r"(<p>|</p>|\[SEG\])")
_WORDS = re.compile(r"(\s+)")
_NO_SPACE_BEFORE = re.compile(r"[.,;:!?…]+(?!\w)|[)\]}]|['’](?:s|re|ll|ve|d|m|t)\b")
_MOMENT = re.compile(r"frames\s*:\s*\(\s*(-?[0-9]{1,9})\s*,\s*(-?[0-9]{1,9})\s*\)")
_MOMENT_START = re.compile(r"frames\s*:\s*\(")


@dataclass(frozen=True)
class ParsedReply:
    """text: the reply without tags and ``[SEG]``. phrases: one for each ``[SEG]``, in order; ``phrases[i].track == i``."""

    text: str
    phrases: tuple[Phrase, ...]
    warnings: tuple[str, ...]


@dataclass
class _Writer:
    """Writes words one after another with the space that a reader expects between them."""

    text: str = ""
    space: str = ""
    after_tag: bool = False

    def feed(self, piece: str) -> int | None:
        """Append a piece between two tags; the position of its first word, None if it has none."""
        first: int | None = None
        for part in _WORDS.split(piece):
            if part.isspace():
                # a break between lines or paragraphs is meant, any other run of white space is one space
                self.space = "\n" * min(part.count("\n"), 2) or " "
            elif part:
                self.text += self._between(part)
                first = len(self.text) if first is None else first
                self.text += part
                self.space, self.after_tag = "", False
        return first

    def tag(self, keep_space: bool) -> None:
        """Pass a tag: the white space before ``</p>`` and ``[SEG]`` is only the way tags are written."""
        self.after_tag = True
        if not keep_space:
            self.space = ""

    def _between(self, word: str) -> str:
        left = self.text[-1:]
        if not left:
            return ""
        if "\n" in self.space:
            return self.space
        if _NO_SPACE_BEFORE.match(word):
            return ""
        if self.space:
            return "" if left in "([{" else " "
        glued = self.after_tag and (left.isalnum() or left in ".,;:!?)]}") and (word[0].isalnum() or word[0] in "([{")
        return " " if glued else ""


@dataclass
class _Parser:
    """The state of one reading: at most one open phrase, and the closed ones that no ``[SEG]`` has taken yet."""

    writer: _Writer = field(default_factory=_Writer)
    opened: bool = False
    start: int | None = None
    closed: list[tuple[int, int] | None] = field(default_factory=list)
    taken: list[tuple[int, int] | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def read(self, piece: str) -> None:
        match piece:
            case "<p>":
                self._open()
            case "</p>":
                self._close()
            case "[SEG]":
                self._seg()
            case _:
                if self.opened and self.start is None:
                    self.start = self.writer.feed(piece.lstrip())  # the blank after <p> is only the way tags are written
                else:
                    self.writer.feed(piece)

    def _open(self) -> None:
        if self.opened:
            self.warnings.append(f"{OPEN} inside an open {OPEN}: the earlier one is ignored")
        self.writer.tag(keep_space=True)
        self.opened, self.start = True, None

    def _close(self) -> None:
        self.writer.tag(keep_space=False)
        if not self.opened:
            self.warnings.append(f"{CLOSE} without {OPEN}: ignored")
            return
        if self.start is None:
            self.warnings.append(f"empty phrase: {OPEN} {CLOSE} without words")
        self.closed.append(None if self.start is None else (self.start, len(self.writer.text)))
        self.opened, self.start = False, None

    def _seg(self) -> None:
        self.writer.tag(keep_space=False)
        if self.opened:
            self.warnings.append(f"{SEG} inside an open {OPEN}: it takes no part of that phrase")
        self.taken.append(self.closed.pop() if self.closed else None)

    def finish(self) -> ParsedReply:
        if self.opened:
            self.warnings.append(f"{OPEN} is never closed: ignored")
        text = self.writer.text
        self.warnings += [f"phrase {text[span[0] : span[1]]!r} has no {SEG}" for span in self.closed if span]
        phrases = tuple(
            Phrase(text[span[0] : span[1]], span[0], span[1], track) if span else Phrase(None, None, None, track)
            for track, span in enumerate(self.taken)
        )
        return ParsedReply(text, phrases, tuple(self.warnings))


def parse_reply(raw: str) -> ParsedReply:
    """Read a reply: its text for people and the phrase of each ``[SEG]``.

    A ``[SEG]`` takes the nearest closed ``<p>..</p>`` before it that no other has taken, else its phrase is null. In the text,
    runs of blanks are one space, line breaks stay, and no space stands before punctuation; a span is exact:
    ``text[phrase.start:phrase.end] == phrase.text``. Nested, unclosed, stray and empty tags are warnings.
    """
    parser = _Parser()
    for piece in _PIECES.split(raw):
        if piece:
            parser.read(piece)
    return parser.finish()


Moments = tuple[tuple[float, float], ...]
"""((start_s, end_s), ...), end exclusive."""


def parse_moments(raw: str, times: Sequence[float], end_time: float) -> tuple[Moments, tuple[str, ...]]:
    """The moments that a reply names as ``frames:(s,e)``, as ((start_s, end_s), ...), and warnings.

    times: presentation times in seconds of the T frames the LLM saw, ascending (the last repeated for a short video); s and e are
    indices into them, e exclusive. end_time: the end of the video in seconds. A moment ends when the next frame appears. Indices
    out of range are clipped with a warning; a reversed, empty or broken moment is a warning and left out.
    """
    moments: list[tuple[float, float]] = []
    warnings: list[str] = []
    found = list(_MOMENT.finditer(raw))
    if broken := len(_MOMENT_START.findall(raw)) - len(found):
        warnings.append(f"{broken} broken 'frames:(s,e)': two whole numbers expected")
    for match in found:
        start, end = int(match[1]), int(match[2])
        if start >= end:
            warnings.append(f"{match[0]!r} is {'reversed' if start > end else 'empty'} (the end is exclusive): ignored")
            continue
        first, after = max(start, 0), min(end, len(times))
        if first >= after:
            warnings.append(f"{match[0]!r} lies outside the {len(times)} frames seen: ignored")
            continue
        if (first, after) != (start, end):
            warnings.append(f"{match[0]!r} reaches outside the {len(times)} frames seen: clipped to ({first},{after})")
        shown_last = times[after - 1]
        ends = next((time for time in times[after:] if time > shown_last), max(end_time, shown_last))
        moments.append((float(times[first]), float(ends)))
    return tuple(moments), tuple(warnings)
