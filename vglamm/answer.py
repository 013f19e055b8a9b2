"""The answer to one question about one video: text whose phrases are tied to masks through time, and ways to keep and show it.

The JSON form is versioned; its schema is published as ``docs/answer.schema.json``. Reading is strict: a missing, unknown or
wrongly typed field is refused with its place, since a silently different answer would be worse than none.
"""

from __future__ import annotations

import json
import os
import sys
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import ConfigError, DialogueError, MaskError
from vglamm.media import rle
from vglamm.places import check_target
from vglamm.records import Phrase, Sampling, Sight, Track
from vglamm.show import overlay, page

FORMAT, VERSION = "vglamm.answer", 1


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one video or image.

    text: the reply without tags and ``[SEG]``. raw: the reply as generated. phrases: one for each ``[SEG]``, with its character
    span in ``text``. tracks: one for each ``[SEG]``; their positions count ``sampling.grounding_indices``. moments: (start_s,
    end_s) in seconds of presentation time, end exclusive. sampling: which frames were used. source: path or URI. model: hash of
    weights and config. finish: "stop" or "length". warnings: what was odd, for people. timings: seconds by stage.

    Raises MaskError if tracks do not fit the sampling or the phrases, DialogueError if a span is not its phrase.
    """

    question: str
    text: str
    raw: str
    phrases: tuple[Phrase, ...]
    tracks: tuple[Track, ...]
    moments: tuple[tuple[float, float], ...]
    sampling: Sampling
    source: str
    model: str
    finish: str = "stop"
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = len(self.sampling.grounding_indices)
        if len(self.sampling.grounding_times) != frames:
            raise MaskError(
                f"{len(self.sampling.grounding_times)} times", f"{frames}, one for each grounding frame", "sample again"
            )
        for number, track in enumerate(self.tracks):
            if len(track.rle) != frames:
                raise MaskError(
                    f"track {number} of {len(track.rle)} frames", f"{frames} grounding frames", "track every grounding frame"
                )
            if not all(end is None or 0 <= end < frames for end in (track.first, track.last)):
                raise MaskError(f"track {number} seen {track.first}..{track.last}", f"0..{frames - 1}", "count grounding frames")
            for mask in track.rle:
                if mask is not None:
                    rle.check(mask, self.sampling.size)
        for phrase in self.phrases:
            if not 0 <= phrase.track < len(self.tracks):
                raise MaskError(
                    f"a phrase of track {phrase.track}", f"one of {len(self.tracks)} tracks", "keep all tracks of a reply"
                )
            _check_span(phrase, self.text)

    @property
    def is_image(self) -> bool:
        """A video of one frame is none: it has a rate."""
        return self.sampling.source_frames == 1 and self.sampling.source_fps == 0

    def masks(self, track: int) -> NDArray[np.bool_]:
        """The masks of one track, bool[K, H, W] at source size, decoded now: K grounding frames of H x W bytes each."""
        return rle.decode(self.tracks[track].rle, self.sampling.size)

    def sights(self, position: int) -> tuple[Sight, ...]:
        """What every track shows on one grounding frame."""
        return tuple(Sight(track.rle[position], track.boxes[position], track.scores[position]) for track in self.tracks)

    def visible(self, track: int) -> tuple[float, float] | None:
        """Presentation times in seconds of the first and the last frame that shows the track, or None."""
        first, last = self.tracks[track].first, self.tracks[track].last
        times = self.sampling.grounding_times
        return None if first is None or last is None else (times[first], times[last])

    def save_overlay(self, path: str | os.PathLike[str], video: overlay.Video | None = None) -> Path:
        """Show the answer in a file, by its suffix, and return its path.

        .mp4: the grounding frames with coloured masks at their original times. .png: the image, or the frame of a video that
        shows most. .html: one self-contained page. video: where frames come from if not from ``source``: an opened video, a
        path, uint8[F, H, W, 3] with all frames of the source or only the grounding frames, or an image; needed if they were
        in memory when it was asked.

        Raises ConfigError for another suffix, an mp4 of an image, a target that is the source itself or that cannot be written,
        VideoError if the frames cannot be had.
        """
        target = Path(path)
        check_target("an overlay at", target, self.source if video is None else overlay.path_of(video))
        match target.suffix.lower():
            case ".mp4" if self.is_image:
                raise ConfigError("an mp4 overlay of a single image", "a path ending in .png or .html", "rename the output")
            case ".mp4":
                overlay.write_video(target, self, video)
            case ".png":
                overlay.write_image(target, self, video)
            case ".html" | ".htm":
                page.write_page(target, [(self, video)])
            case suffix:
                raise ConfigError(f"an overlay path ending in {suffix!r}", ".mp4, .png or .html", "rename the output")
        return target

    def to_json(self, indent: int | None = None) -> str:
        """The answer as JSON of version 1, whole in UTF-8 (what a file name has beside it is escaped). Raises DialogueError for a
        number that JSON cannot hold (NaN, infinity)."""
        body = {"format": FORMAT, "version": VERSION, **asdict(self)}
        try:
            told = json.dumps(body, indent=indent, ensure_ascii=False, allow_nan=False, default=_plain)
        except ValueError as error:
            raise DialogueError(
                f"an answer with a number that is not finite ({error})", "finite numbers", "report this as a bug"
            ) from error
        return told.encode(errors="backslashreplace").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Answer:
        """Read what :meth:`to_json` wrote. Raises DialogueError for anything else, MaskError for a broken mask."""
        try:
            body = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DialogueError(f"text that is not JSON ({error})", "what Answer.to_json() wrote", "check the file") from error
        if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
            raise DialogueError(f"JSON without format {FORMAT!r}", "what Answer.to_json() wrote", "check the file")
        version = body.pop("version", None)
        if type(version) is not int or version != VERSION:
            raise DialogueError(f"answer version {version!r}", f"version {VERSION}", "read it with the release that wrote it")
        answer = _read(cls, body, "answer")
        assert isinstance(answer, cls)
        return answer


def _check_span(phrase: Phrase, text: str) -> None:
    """Raise DialogueError unless the phrase is the text at its span, or has neither."""
    start, end = phrase.start, phrase.end
    if phrase.text is None and start is None and end is None:
        return
    if start is None or end is None or not 0 <= start <= end or text[start:end] != phrase.text:
        raise DialogueError(f"phrase {phrase.text!r} at {start}:{end}", "the text at that span", "parse the reply again")


def _plain(value: object) -> object:
    """numpy numbers, which records may hold, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong into an answer")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gave it, as the type `kind`; DialogueError names the place where it does not fit."""
    if is_dataclass(kind):
        return _read_record(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _read(next(a for a in arguments if a is not types.NoneType), value, where)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            return tuple(_read(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif kind is Any:
        return value
    elif kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    raise DialogueError(f"{where} = {value!r}"[:120], f"a value of {kind}", "compare it with docs/answer.schema.json")


def _read_record(kind: Any, value: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    names = [entry.name for entry in fields(kind)]
    if not isinstance(value, dict) or set(value) != set(names):
        wrong = sorted(set(names) ^ set(value)) if isinstance(value, dict) else type(value).__name__
        raise DialogueError(
            f"{where} with missing or unknown fields: {wrong}"[:200], f"{names}", "compare it with docs/answer.schema.json"
        )
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})
