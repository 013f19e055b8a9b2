"""Text in pictures: the name of an object, and the answer below a picture with its phrases on the colours of their masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vglamm.show.colours import Colour, colour, ink

if TYPE_CHECKING:
    from vglamm.answer import Answer
    from vglamm.records import Phrase

_GROUND: Colour = (20, 22, 26)
_TEXT: Colour = (236, 238, 240)
_QUIET: Colour = (158, 164, 172)
_LONGEST_NAME = 40

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Run = tuple[str, int | None]
"""A piece of text and the track that it names, if any."""


class Worded(Protocol):
    """A text with phrases: an answer, or as much of it as a list shows."""

    @property
    def text(self) -> str: ...

    @property
    def phrases(self) -> tuple[Phrase, ...]: ...


def names(answer: Answer) -> list[str]:
    """A name for each track: its phrase, or "object 3" for the third track when it has none."""
    found = [f"object {track + 1}" for track in range(len(answer.tracks))]
    for phrase in answer.phrases:
        found[phrase.track] = phrase.text or found[phrase.track]
    return found


def text_runs(answer: Worded) -> Iterator[Run]:
    """The answer's text in order, cut at its phrases; a phrase that overlaps an earlier one is not marked again."""
    at = 0
    spans = sorted((phrase.start, phrase.end or 0, phrase.track) for phrase in answer.phrases if phrase.start is not None)
    for start, end, track in spans:
        if start >= at and end > start:
            if start > at:
                yield answer.text[at:start], None
            yield answer.text[start:end], track
            at = end
    if at < len(answer.text):
        yield answer.text[at:], None


def tag(name: str, shade: Colour, unit: int) -> Image.Image:
    """A name on its colour, RGBA, for text of `unit` pixels."""
    text = " ".join(name.split())
    text = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    font, pad = _font(unit), max(3, unit // 3)
    width = round(font.getlength(text)) + 2 * pad
    height = _line(unit)
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=unit // 3, fill=(*shade, 235))
    draw.text((pad, height // 2), text, font=font, fill=(*ink(shade), 255), anchor="lm")
    return image


def panel(answer: Answer, width: int, most: int, unit: int) -> NDArray[np.uint8]:
    """The question, the answer with coloured phrases, and the moments: uint8[h, width, 3], h even and at most about `most`."""
    margin, line = unit, _line(unit) + unit // 3
    nameless = [
        (name, track) for track, name in enumerate(names(answer)) if not any(p.track == track and p.text for p in answer.phrases)
    ]
    runs: list[Run] = list(text_runs(answer))
    for named in nameless:
        runs += [("\u2002", None), named]
    rows = _wrap([(answer.question, None)], width - 2 * margin, unit)[:2]
    quiet = len(rows)
    rows += _wrap(runs, width - 2 * margin, unit)
    if answer.moments:
        moments = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in answer.moments)
        rows += _wrap([(f"Moments: {moments}", None)], width - 2 * margin, unit)
    fitting = max(3, (most - margin) // line)
    if len(rows) > fitting:
        rows = [*rows[: fitting - 1], [(0.0, "…", None)]]
    height = len(rows) * line + margin
    image = Image.new("RGB", (width, height + height % 2), _GROUND)
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        middle = margin // 2 + number * line + line // 2
        for left, text, track in row:
            _draw_run(draw, (margin + left, middle), text, track, unit, _QUIET if number < quiet else _TEXT)
    return np.asarray(image)


def _draw_run(draw: ImageDraw.ImageDraw, at: tuple[float, int], text: str, track: int | None, unit: int, plain: Colour) -> None:
    font = _font(unit)
    if track is not None:
        shade, half, pad = colour(track), _line(unit) // 2, unit // 4
        box = (at[0] - pad, at[1] - half, at[0] + font.getlength(text) + pad, at[1] + half)
        draw.rounded_rectangle(box, radius=unit // 3, fill=shade)
        plain = ink(shade)
    draw.text(at, text, font=font, fill=plain, anchor="lm")


def _wrap(runs: list[Run], width: int, unit: int) -> list[list[tuple[float, str, int | None]]]:
    """Rows of (left, text, track) that fit the width; a word wider than a row is cut. Line breaks in the text are kept."""
    font, pad = _font(unit), unit // 3  # a little more than a background sticks out
    rows: list[list[tuple[float, str, int | None]]] = [[]]
    at = 0.0
    for run, track in runs:
        for number, paragraph in enumerate(run.split("\n")):
            if number:
                rows.append([])
                at = 0.0
            for word in _words(paragraph):
                at += pad if rows[-1] and (rows[-1][-1][2] is None) != (track is None) else 0
                wide = font.getlength(word.rstrip())
                if at and at + wide > width:
                    rows.append([])
                    at = 0.0
                    word = word.lstrip()
                    wide = font.getlength(word.rstrip())
                while wide > width and len(word) > 2:  # two characters are what is left of any word
                    word = word[: len(word) // 2] + "…"
                    wide = font.getlength(word)
                row = rows[-1]
                if row and track is not None and row[-1][2] == track:
                    row[-1] = (row[-1][0], row[-1][1] + word, track)  # one background behind the words of a phrase
                elif word:
                    row.append((at, word, track))
                at += font.getlength(word)
    return [row for row in rows if row]


def _words(text: str) -> Iterator[str]:
    """Words with the space in front of them; a last space alone is kept, since a phrase may follow."""
    word = ""
    for character in text:
        if character.isspace() and word.strip():
            yield word
            word = ""
        word += " " if character.isspace() and character != "\u2002" else character
    if word:
        yield word


def _font(unit: int) -> Font:
    return ImageFont.load_default(unit)


def _line(unit: int) -> int:
    return round(unit * 1.45)
