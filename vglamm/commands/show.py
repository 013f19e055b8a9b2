"""An answer on a terminal: its text with phrases in the colours of their masks, and a table of tracks."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vglamm.answer import Answer
from vglamm.show.colours import colour, css
from vglamm.show.legend import names, text_runs


def shown(answer: Answer) -> RenderableType:
    """Question, answer, tracks, moments and what was looked at."""
    parts: list[RenderableType] = [Text(f"> {answer.question}", style="dim"), coloured(answer)]
    if answer.tracks:
        parts.append(tracks(answer))
    if answer.moments:
        parts.append(Text("moments  " + ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in answer.moments)))
    parts.append(Text(looked_at(answer), style="dim"))
    cut = ("the answer was cut off at its most tokens: raise --max-new-tokens",) if answer.finish == "length" else ()
    parts.extend(Text(f"note  {warning}", style="yellow") for warning in (*answer.warnings, *cut))
    return Group(*parts)


def coloured(answer: Answer) -> Text:
    """The text of an answer, each phrase bold in the colour of its mask."""
    text = Text()
    for piece, track in text_runs(answer):
        text.append(piece, style="" if track is None else f"bold {css(colour(track))}")
    return text


def tracks(answer: Answer) -> Table:
    """One row for each track: colour, phrase, when it is seen, in how many frames, mean score."""
    table = Table("", "phrase", "seen", "frames", "score", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for index, (name, track) in enumerate(zip(names(answer), answer.tracks, strict=True)):
        span = answer.visible(index)
        seen = "nowhere" if span is None else "in the image" if answer.is_image else f"{span[0]:.2f} to {span[1]:.2f} s"
        count = sum(mask is not None for mask in track.rle)
        table.add_row(Text("■", style=css(colour(index))), Text(name), seen, f"{count} of {len(track.rle)}", f"{track.score:.2f}")
    return table


def looked_at(answer: Answer) -> str:
    """What was sampled, in one line, so that nobody takes thinned frames for all of them."""
    sampling = answer.sampling
    spent = f"; {sum(answer.timings.values()):.1f} s" if answer.timings else ""
    if answer.is_image:
        return f"one image, {sampling.size[1]} x {sampling.size[0]}{spent}"
    seen = f"looked at {len(set(sampling.llm_indices))}"
    if answer.tracks:
        seen = f"read {len(sampling.llm_indices)} and masked {len(sampling.grounding_indices)}"
    cut = ", the file is truncated" if sampling.truncated else ""
    return f"{seen} of {sampling.source_frames} frames at {sampling.source_fps:g} fps{cut}{spent}"
