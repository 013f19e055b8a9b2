"""The player of one answer: its HTML, what its script must know, and its frames as small H.264.

The look and the script are files in ``templates``. The page that is mailed (:mod:`vglamm.show.page`) and the viewer of a run
(:mod:`vglamm.view`) both show answers by this player.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vglamm.media import rle
from vglamm.media.mp4 import write_mp4
from vglamm.records import Rle
from vglamm.show import legend, overlay
from vglamm.show.colours import colour, css, ink

if TYPE_CHECKING:
    from vglamm.answer import Answer

SIDES = (480, 800)
"""Longest side of the video in the page: a mailed page should stay small."""


def _page_size(answer: Answer) -> tuple[int, int]:
    return overlay.fit(answer.sampling.size, *SIDES)


def pack(answer: Answer, video: overlay.Video | None) -> tuple[str, bytes]:
    """Media type and bytes of the grounding frames: H.264 at the times of the script's clock, or JPEG for an image.

    video: where frames come from, None for ``answer.source``. Raises VideoError if they cannot be had.
    """
    size, times = _page_size(answer), answer.sampling.grounding_times
    frames = ((times[position], overlay.resize_frame(frame, size)) for position, frame in overlay.grounding_frames(answer, video))
    if answer.is_image:
        picture = io.BytesIO()
        Image.fromarray(next(frames)[1]).save(picture, format="JPEG", quality=92, subsampling=0)
        return "image/jpeg", picture.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames.mp4"
        write_mp4(file, frames, overlay.last_duration(answer), crf=23)
        return "video/mp4", file.read_bytes()


def entry(answer: Answer) -> dict[str, Any]:
    """What the script needs to know about one answer, for JSON. Times count from the first grounding frame."""
    height, width = _page_size(answer)
    start, times, end = _clock(answer)
    tracks = [
        {
            "name": name,
            "rgb": colour(number),
            "colour": css(colour(number)),
            "ink": css(ink(colour(number))),
            "masks": [_counts(mask, answer.sampling.size, (height, width)) for mask in track.rle],
        }
        for number, (track, name) in enumerate(zip(answer.tracks, legend.names(answer), strict=True))
    ]
    where = {"w": width, "h": height, "start": start, "times": times, "end": end}
    return {**where, "key": overlay.key_position(answer), "tracks": tracks}


def _counts(mask: Rle | None, size: tuple[int, int], page_size: tuple[int, int]) -> str | None:
    """The mask at the size of the page, as COCO counts."""
    if mask is None:
        return None
    (scaled,) = rle.encode(overlay.resize_mask(rle.decode([mask], size)[0], page_size)[np.newaxis])
    return None if scaled is None else str(scaled["counts"])


def _clock(answer: Answer) -> tuple[float, list[float], float]:
    """Start in the source, times from there on, and the end on the same clock; seconds, as exact as the clock of the MP4."""
    times = answer.sampling.grounding_times
    from_start = [round(time - times[0], 6) for time in times]
    return times[0], from_start, round(from_start[-1] + overlay.last_duration(answer), 6)


def title(answers: Sequence[Answer]) -> str:
    """The name of the video, without the folders it lies in: a page is made to be passed on."""
    sources = {PurePosixPath(answer.source.replace("\\", "/")).name or answer.source for answer in answers}
    return sources.pop() if len(sources) == 1 else f"{len(sources)} videos"


def article(answer: Answer, number: int) -> str:
    """The HTML of one answer; ``number`` tells it from others on the page."""
    height, width = _page_size(answer)
    about = escape(title([answer]))
    player = f'<img alt="{about}">' if answer.is_image else f'<video muted playsinline preload="auto" aria-label="{about}"></video>'
    return (
        f'<article aria-labelledby="q{number}"><div class="say"><div class="words">'
        f'<h2 id="q{number}">{escape(answer.question)}</h2><p class="text">{_text(answer)}</p>{_when(answer)}{_notes(answer)}</div>'
        f'{_facts(answer)}</div><div class="stage"><div class="screen" style="--ratio: {width / height:.4f}">'
        f'{player}<canvas aria-hidden="true"></canvas></div>{"" if answer.is_image else _lanes(answer)}</div></article>'
    )


def style(track: int) -> str:
    """The attribute that hands a track's colours to the stylesheet."""
    return f'style="--c: {css(colour(track))}; --ink: {css(ink(colour(track)))}"'


def _chip(track: int, text: str) -> str:
    # a span, since a button does not break across lines with the text around it; the script gives it a button's keys
    state = f'role="button" tabindex="0" data-track="{track}" aria-pressed="false"'
    return f'<span class="chip" {state} {style(track)}>{escape(text)}</span>'


def _text(answer: Answer) -> str:
    shown, parts = set[int](), list[str]()
    for text, track in legend.text_runs(answer):
        parts.append(escape(text) if track is None else _chip(track, text))
        shown |= set() if track is None else {track}
    parts += [" " + _chip(track, name) for track, name in enumerate(legend.names(answer)) if track not in shown]
    return "".join(parts)


def _lanes(answer: Answer) -> str:
    """The transport and one lane for each track: where on the time line it is seen."""
    start, times, end = _clock(answer)
    edges = [*times, end]
    icon = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 1l12 7-12 7z"/></svg>'
    rows = [
        f'<div class="transport"><button type="button" class="play" aria-label="Play">{icon}</button>'
        f'<span class="clock"></span></div>'
        f'<input type="range" min="0" max="{end}" step="any" value="0" aria-label="Time">'
    ]
    for track, name in enumerate(legend.names(answer)):
        seen = [(edges[first], edges[after]) for first, after in _visible_runs(answer.tracks[track].rle)]
        state = f'data-track="{track}" aria-pressed="false" title="{escape(name)}"'
        rows.append(
            f'<button type="button" class="name" {state} {style(track)}><i></i><span>{escape(name)}</span></button>'
            f'<div class="lane" data-lane="{track}" {style(track)}>{_bars(seen, end)}</div>'
        )
    if answer.moments:
        bars = _bars([(max(0.0, first - start), min(end, last - start)) for first, last in answer.moments], end)
        rows.append(f'<span class="name plain"><span>named moment</span></span><div class="lane moment">{bars}</div>')
    return f'<div class="lanes">{"".join(rows)}</div>'


def _bars(spans: Sequence[tuple[float, float]], end: float) -> str:
    parts = (f'<b style="left: {a / end:.3%}; width: {max(b - a, 0) / end:.3%}"></b>' for a, b in spans)
    return "".join(parts) + "<u></u>"


def _visible_runs(masks: Sequence[Rle | None]) -> Iterator[tuple[int, int]]:
    """(first, after last) of each unbroken run of frames with a mask."""
    first: int | None = None
    for position, mask in enumerate([*masks, None]):
        if mask is not None and first is None:
            first = position
        elif mask is None and first is not None:
            yield first, position
            first = None


def _when(answer: Answer) -> str:
    """The moments that the text names by frame numbers, as times."""
    times = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in answer.moments)
    return f'<p class="when">Moment: {times}</p>' if times else ""


def _notes(answer: Answer) -> str:
    notes = list(answer.warnings)
    if answer.finish == "length":
        notes.append("The reply reached the token limit and was cut.")
    if answer.sampling.truncated:
        notes.append("The file is cut short: the video ends at its last good frame.")
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f'<div class="note" role="note">{lines}</div>' if notes else ""


def _facts(answer: Answer) -> str:
    sampling = answer.sampling
    kind = "image" if answer.is_image else f"{sampling.source_frames} frames at {sampling.source_fps:.4g} per second"
    facts = {
        "Source": f"{kind}, {sampling.size[1]} x {sampling.size[0]}",
        "Read by the model": _count(len(set(sampling.llm_indices)), sampling.llm_times),
        "With masks": _count(len(sampling.grounding_indices), sampling.grounding_times),
        "Moments": ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in answer.moments),
        "Model": answer.model,
        "Seconds": ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in answer.timings.items()),
        "As written": answer.raw,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact)
    return f"<details><summary>How this answer was made</summary><dl>{rows}</dl></details>"


def _count(frames: int, times: Sequence[float]) -> str:
    span = f", {times[0]:.2f} to {times[-1]:.2f} s" if len(times) > 1 else ""
    return f"{frames} frame{'s' if frames != 1 else ''}{span}"
