"""Submissions to the servers of MeViS and Ref-YouTube-VOS: a zip of masks, complete or not written at all.

A row answers one expression about one video. Beside ``video``, the benchmark's id of the video, it must carry two columns that came
with the input of the run: ``exp_id``, the id of the expression, and ``frames``, the names of all frames of the video in order,
without suffix, as ``meta_expressions.json`` has them. Masks are 0 and 255, the union of all tracks of the answer.

    mevis              <video>/<exp_id>/<frame>.png
    ref-youtube-vos    Annotations/<video>/<exp_id>/<frame>.png

Equal runs give equal bytes: names are sorted, times are those of 1980.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError, CorpusError
from vglamm.export.rows import Run
from vglamm.export.settings import LeftOut, Settings
from vglamm.media import rle
from vglamm.media.folder import FolderSource

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_SHOWN = 20


@dataclass(frozen=True)
class Asked:
    """What a row is an answer to. Raises CorpusError for ids that are no plain names, or frames that repeat."""

    video: str
    expression: str
    frames: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in (self.video, self.expression, *self.frames):
            if not _PLAIN.fullmatch(name):
                raise CorpusError(f"{name!r} as a name in a submission", "letters, digits, - _ and .", "take the benchmark's names")
        if not self.frames or len(set(self.frames)) != len(self.frames):
            raise CorpusError(f"frames {_short(self.frames)} of {self.video}", "each frame once", "take the benchmark's list")

    @classmethod
    def of(cls, row: Annotation) -> Asked:
        """ConfigError for a row without the columns or with other types in them."""
        expression, frames = row.extra.get("exp_id"), row.extra.get("frames")
        if missing := [name for name, value in (("exp_id", expression), ("frames", frames)) if value is None]:
            raise ConfigError(
                f"row {row.id} without {' and '.join(missing)}", "columns exp_id (text) and frames (list of names)", _PASS_THROUGH
            )
        if not isinstance(frames, list) or not all(isinstance(name, str) for name in frames):
            raise ConfigError(f"frames = {_short(frames)} in row {row.id}", "a list of names, as text", _PASS_THROUGH)
        return cls(row.video, str(expression), tuple(frames))

    def below(self, folder: Path) -> Path:
        return folder / self.video / self.expression


@dataclass
class _Missing:
    """What a submission lacks: the first few, and how many."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, asked: Asked, frames: Sequence[str]) -> None:
        self.count += len(frames)
        self.first += [f"{asked.video}/{asked.expression}/{name}" for name in frames[: _SHOWN - len(self.first)]]

    def check(self) -> None:
        if self.count:
            more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
            raise CorpusError(
                f"a submission that lacks {self.count} masks: {', '.join(self.first)}{more}",
                "every frame of every expression once",
                "annotate with --every-frame, and what failed again; --status-of-failed empty gives failed rows empty masks",
            )


def write_submission(run: Run, path: Path, settings: Settings, *, root: str) -> None:
    """Write the zip with its folders below ``root``.

    Raises CorpusError unless every row has exactly the frames it lists, each mask the size of the others of its video (and, with
    ``settings.videos``, of the frame ``<videos>/<video>/<frame>``), and, with ``settings.expressions``, the rows are exactly the
    expressions of that file. The message lists what is missing.
    """
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as scratch:
        folder, missing = Path(scratch), _Missing()
        for row in annotation.read(run):
            asked = Asked.of(row)
            if row.answer is not None:
                missing.add(asked, _write_masks(_new(asked, folder), asked, row.answer, settings.videos))
            elif settings.left_out is not LeftOut.empty:
                missing.add(asked, asked.frames)
        if settings.left_out is LeftOut.empty:
            _write_empty(run, folder, settings.videos)
        if settings.expressions is not None:
            missing = _compare(folder, settings.expressions)
        missing.check()
        _pack(folder, path, root)


write_mevis = partial(write_submission, root="")
write_ref_youtube_vos = partial(write_submission, root="Annotations/")


def _new(asked: Asked, folder: Path) -> Path:
    place = asked.below(folder)
    if place.exists():
        raise CorpusError(f"two rows of expression {asked.expression} of {asked.video}", "one", "export each run apart")
    place.mkdir(parents=True)
    return place


def _write_masks(place: Path, asked: Asked, answer: Answer, videos: Path | None) -> list[str]:
    """Write the union of the tracks on each grounding frame; gives the names of frames that have no mask."""
    sampling = answer.sampling
    if sampling.source_frames != len(asked.frames):
        raise CorpusError(
            f"{sampling.source_frames} frames in {answer.source}",
            f"{len(asked.frames)}, as the frames of {asked.video} that row lists",
            "annotate the benchmark's own frames",
        )
    _check_size(place, asked, sampling.size, videos)
    for position, index in enumerate(sampling.grounding_indices):
        masks = rle.decode([track.rle[position] for track in answer.tracks], sampling.size)
        _save(place / f"{asked.frames[index]}.png", masks.any(axis=0).astype(np.uint8) * 255)
    covered = set(sampling.grounding_indices)
    return [name for index, name in enumerate(asked.frames) if index not in covered]


def _save(path: Path, pixels: Any) -> None:
    Image.fromarray(pixels).save(path, format="PNG")


def _check_size(place: Path, asked: Asked, size: tuple[int, int], videos: Path | None) -> None:
    others = [_size_of(picture) for picture in _pictures(place.parent)]
    if videos is not None:
        others.append(_source_size(asked, videos))
    for other in others:
        if other != size:
            raise CorpusError(
                f"masks of {list(size)} (H, W) of {asked.video}", f"{list(other)}", "annotate the benchmark's own frames"
            )


def _pictures(video: Path) -> Iterator[Path]:
    """One picture of a video, if any was written."""
    return islice(video.glob("*/*.png"), 1)


def _size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.height, image.width


def _source_size(asked: Asked, videos: Path) -> tuple[int, int]:
    """(H, W) of the first frame as it is shown, from its header. CorpusError if it is not there, VideoError if it is damaged."""
    names = [f"{asked.frames[0]}{suffix}" for suffix in (".jpg", ".jpeg", ".png")]
    there = [name for name in names if (videos / asked.video / name).is_file()]
    if not there:
        raise CorpusError(f"no frame {asked.frames[0]} of {asked.video} in {videos}", "folders of frames", "check --videos")
    info = FolderSource(videos / asked.video, there[:1]).info
    return info.height, info.width


def _write_empty(run: Run, folder: Path, videos: Path | None) -> None:
    """Empty masks for rows without an answer, of the size of their video's other masks, else of its first frame."""
    for row in annotation.read(run):
        if row.answer is None:
            asked = Asked.of(row)
            sizes = [_size_of(picture) for picture in _pictures(folder / asked.video)]
            if not sizes:
                if videos is None:
                    fix = "pass --videos with the benchmark's folders of frames, or annotate it again"
                    raise CorpusError(f"no answered row of {asked.video}", "one, to know the size of its frames", fix)
                sizes = [_source_size(asked, videos)]
            place = _new(asked, folder)
            for name in asked.frames:
                _save(place / f"{name}.png", np.zeros(sizes[0], np.uint8))


def _compare(folder: Path, expressions: Path) -> _Missing:
    """What was written held to the benchmark's own list; gives what it lacks."""
    try:
        videos = json.loads(expressions.read_text(encoding="utf-8"))["videos"]
        wanted = [Asked(v, e, tuple(about["frames"])) for v, about in videos.items() for e in about["expressions"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{expressions}, which cannot be read ({error!r})", "meta_expressions.json", "check the file") from error
    known = {(asked.video, asked.expression) for asked in wanted}
    for place in sorted(folder.glob("*/*")):
        if (place.parent.name, place.name) not in known:
            raise CorpusError(f"expression {place.name} of {place.parent.name}", f"one of {expressions}", "take the right split")
    missing = _Missing()
    for asked in wanted:
        there = {picture.stem for picture in asked.below(folder).glob("*.png")}
        if extra := there - set(asked.frames):
            raise CorpusError(f"frames {_short(sorted(extra))} of {asked.video}", f"those of {expressions}", "take the right split")
        missing.add(asked, [name for name in asked.frames if name not in there])
    return missing


def _pack(folder: Path, path: Path, root: str) -> None:
    """Zip all pictures, sorted, without compression: PNGs are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(picture.relative_to(folder).as_posix() for picture in folder.glob("*/*/*.png")):
            entry = zipfile.ZipInfo(root + name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


_PASS_THROUGH = "give the run these columns in its input, from meta_expressions.json, and annotate again"
