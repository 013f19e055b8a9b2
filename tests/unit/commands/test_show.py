"""An answer on a terminal: colours of phrases, what is nowhere, what is an image, and notes."""

from __future__ import annotations

from io import StringIO

import numpy as np
from rich.console import Console

from vglamm.answer import Answer
from vglamm.commands.show import coloured, looked_at, shown
from vglamm.media import rle
from vglamm.records import Phrase, Sampling, Track
from vglamm.show.colours import colour, css

MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


def track(*visible: bool) -> Track:
    masks = tuple(rle.encode(MASK[None])[0] if seen else None for seen in visible)
    places = [k for k, seen in enumerate(visible) if seen]
    return Track(
        rle=masks,
        boxes=tuple((2.0, 1.0, 5.0, 3.0) if seen else None for seen in visible),
        scores=tuple(0.75 if seen else 0.0 for seen in visible),
        score=0.75 if places else 0.0,
        first=places[0] if places else None,
        last=places[-1] if places else None,
    )


def answer(*tracks: Track, frames: int, text: str = "The [dog] sees a cat.", **rest: object) -> Answer:
    times = tuple(k / 2 for k in range(frames))
    indices = tuple(range(frames))
    sampling = Sampling(indices, times, indices, times, frames, 2.0 if frames > 1 else 0.0, (4, 6), truncated=frames == 3)
    phrases = (Phrase("[dog]", 4, 9, 0), Phrase("a cat", 15, 20, 1))[: len(tracks)]
    return Answer("Who?", text, text, phrases, tracks, (), sampling, "clip.mp4", "tiny", **rest)  # type: ignore[arg-type]


def written(made: Answer) -> str:
    console = Console(file=StringIO(), width=120, color_system=None)
    console.print(shown(made))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_phrases_have_the_colours_of_their_tracks() -> None:
    text = coloured(answer(track(True, True), track(True, False), frames=2))
    assert text.plain == "The [dog] sees a cat."  # brackets are text, not markup
    assert [(text.plain[s.start : s.end], str(s.style)) for s in text.spans if s.style] == [
        ("[dog]", f"bold {css(colour(0))}"),
        ("a cat", f"bold {css(colour(1))}"),
    ]


def test_the_table_tells_when_each_object_is_seen() -> None:
    lines = [
        line.split("  ") for line in written(answer(track(False, True, True), track(False, False, False), frames=3)).splitlines()
    ]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines if line[0] == "■"]
    assert rows == [["■", "[dog]", "0.50 to 1.00 s", "2 of 3", "0.75"], ["■", "a cat", "nowhere", "0 of 3", "0.00"]]


def test_an_image_is_called_one() -> None:
    text = written(answer(track(True), frames=1))
    assert "in the image" in text
    assert "one image, 6 x 4" in text


def test_truncation_time_and_notes_are_told() -> None:
    made = answer(frames=3, text="Nothing.", warnings=("[SEG] is odd",), timings={"vision": 1.0, "pixel": 0.5})
    assert looked_at(made) == "looked at 3 of 3 frames at 2 fps, the file is truncated; 1.5 s"
    assert "note  [SEG] is odd" in written(made)
    assert "cut off" not in written(made)


def test_what_was_masked_is_told_of_what_has_masks() -> None:
    assert looked_at(answer(track(True, True), frames=2)) == "read 2 and masked 2 of 2 frames at 2 fps"


def test_an_answer_that_was_cut_off_says_so() -> None:
    assert "note  the answer was cut off at its most tokens: raise --max-new-tokens" in written(answer(frames=2, finish="length"))
