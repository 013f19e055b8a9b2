"""Answers as rows of a table: what bulk annotation writes and what exports, the viewer and evaluation read.

One row for each (video, question). A row is complete in itself: an answered one holds its whole Answer, a failed or skipped one
says why. Columns beyond :data:`COLUMNS` came with the input and are passed through.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from vglamm.answer import Answer
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.places import Place
from vglamm.records import Phrase, Sampling, Track

if TYPE_CHECKING:
    import pyarrow as pa

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
STATUSES = (OK, FAILED, SKIPPED)
SUFFIX = ".parquet"
_PART = re.compile(r"(?:^|/)part-\d+\.parquet$")


@dataclass(frozen=True)
class Annotation:
    """One question about one video and what came of it.

    id: unique in a run: the video's id, and after it ``#2``, ``#3``, ... for the second and later questions of a video. position:
    place in the run, from 0. video: the video's id. uri: where it was read. sha256: of the file's bytes, None if it could not be
    read. status: "ok", "failed" or "skipped". answer: of an "ok" row. error_type, error: of the others. config: hash of the
    settings of the run. extra: columns passed through.
    """

    id: str
    position: int
    video: str
    uri: str
    question: str
    status: str
    config: str
    sha256: str | None = None
    answer: Answer | None = None
    error_type: str | None = None
    error: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ConfigError(f"status {self.status!r}", f"one of {', '.join(STATUSES)}", "report this as a bug")
        if (self.status == OK) != (self.answer is not None) or (self.status == OK) != (self.error_type is None):
            raise ConfigError(
                f"a row that is {self.status} with{'' if self.answer else 'out'} an answer",
                "an answer in a row that is ok, a reason in any other",
                "report this as a bug",
            )

    def to_row(self) -> dict[str, Any]:
        """Values of :func:`schema`'s columns, then the passed-through ones."""
        row = {name: getattr(self, name) for name in _OWN}
        return row | (_columns(self.answer) if self.answer else dict.fromkeys(_OF_ANSWER)) | dict(self.extra)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Annotation:
        """What :meth:`to_row` made, also after Parquet. ConfigError for a row that lacks a column."""
        if missing := [name for name in COLUMNS if name not in row]:
            raise ConfigError(f"a row without {', '.join(missing)}", "a row that `vglamm annotate` wrote", "check the file")
        extra = {name: value for name, value in row.items() if name not in COLUMNS}
        return cls(**{name: row[name] for name in _OWN}, answer=_answer(row) if row["status"] == OK else None, extra=extra)


_OWN = ("id", "position", "video", "uri", "sha256", "question", "status", "error_type", "error", "config")
_OF_ANSWER = ("text", "raw", "phrases", "tracks", "moments", "sampling", "model", "finish", "warnings", "timings")
COLUMNS = (*_OWN, *_OF_ANSWER)


def schema(extra: Sequence[pa.Field] = ()) -> pa.Schema:
    """The table's columns. tracks: for each phrase's object the COCO RLE ``counts`` per grounding frame (their size is
    ``sampling.size``; null where it is not visible), boxes, scores, and the first and last visible frame with their times in
    seconds."""
    pa = _arrow()
    text, number, whole, numbers = pa.string(), pa.float64(), pa.int64(), pa.list_(pa.float64())
    track = {
        "counts": pa.list_(text), "boxes": pa.list_(numbers), "scores": numbers, "score": number,
        "first": whole, "last": whole, "start_s": number, "end_s": number,
    }  # fmt: skip
    phrase = {"text": text, "start": whole, "end": whole, "track": whole}
    sampling = {
        "llm_indices": pa.list_(whole), "llm_times": numbers, "grounding_indices": pa.list_(whole), "grounding_times": numbers,
        "source_frames": whole, "source_fps": number, "size": pa.list_(whole), "truncated": pa.bool_(),
    }  # fmt: skip
    kinds = {
        "position": whole,
        "phrases": pa.list_(pa.struct(phrase)),
        "tracks": pa.list_(pa.struct(track)),
        "moments": pa.list_(numbers),
        "sampling": pa.struct(sampling),
        "warnings": pa.list_(text),
        "timings": pa.map_(text, number),
    }
    return pa.schema([pa.field(name, kinds.get(name, text)) for name in COLUMNS] + list(extra))


def table(annotations: Iterable[Annotation], extra: Sequence[pa.Field] = ()) -> pa.Table:
    """Rows of :func:`schema`. ``extra`` names the passed-through columns and their types."""
    return _arrow().Table.from_pylist([annotation.to_row() for annotation in annotations], schema=schema(extra))


def read(url: str | os.PathLike[str]) -> Iterator[Annotation]:
    """The rows of a run in the order of its input, a few at a time. url: the folder that ``vglamm annotate`` wrote, or one Parquet
    file; local, or any address that pyarrow or fsspec knows. ConfigError if there is none."""
    system, files = parts(url)
    from pyarrow import parquet

    for name in files:
        with parquet.ParquetFile(name, filesystem=system) as file:
            for batch in file.iter_batches(batch_size=16):
                yield from map(Annotation.from_row, batch.to_pylist(maps_as_pydicts="strict"))


def parts(url: str | os.PathLike[str]) -> tuple[Any, list[str]]:
    """The file system and the sorted Parquet files of a run. ConfigError if there is none."""
    _arrow()
    place = Place.of(url)
    try:
        files = [place.path] if place.is_file() else [path for path in place.files(deep=False) if _PART.search(path)]
    except OSError as error:
        raise ConfigError(f"{place.text}, which cannot be read ({error})", "the folder of a run", "check the address") from error
    if not files:
        raise ConfigError(f"no part-*{SUFFIX} in {place.text}", "the folder that `vglamm annotate` wrote", "check the address")
    return place.system, files


def _columns(answer: Answer) -> dict[str, Any]:
    values = {name: getattr(answer, name) for name in _OF_ANSWER}
    return values | {
        "phrases": [asdict(phrase) for phrase in answer.phrases],
        "tracks": [_track(answer, number) for number in range(len(answer.tracks))],
        "moments": [list(moment) for moment in answer.moments],
        "sampling": {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(answer.sampling).items()},
        "warnings": list(answer.warnings),
        "timings": dict(answer.timings),
    }


def _track(answer: Answer, number: int) -> dict[str, Any]:
    track, seen = answer.tracks[number], answer.visible(number)
    return {
        "counts": [None if mask is None else mask["counts"] for mask in track.rle],
        "boxes": [None if box is None else list(box) for box in track.boxes],
        "scores": list(track.scores),
        "score": track.score,
        "first": track.first,
        "last": track.last,
        "start_s": seen[0] if seen else None,
        "end_s": seen[1] if seen else None,
    }


def _answer(row: Mapping[str, Any]) -> Answer:
    chosen: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row["sampling"].items()}
    sampling = Sampling(**chosen)
    size = list(sampling.size)
    found = [
        Track(
            rle=tuple(None if counts is None else {"size": size, "counts": counts} for counts in track["counts"]),
            boxes=tuple(None if box is None else tuple(box) for box in track["boxes"]),
            scores=tuple(track["scores"]),
            **{name: track[name] for name in ("score", "first", "last")},
        )
        for track in row["tracks"]
    ]
    return Answer(
        question=row["question"],
        text=row["text"],
        raw=row["raw"],
        phrases=tuple(Phrase(**phrase) for phrase in row["phrases"]),
        tracks=tuple(found),
        moments=tuple((start, end) for start, end in row["moments"]),
        sampling=sampling,
        source=row["uri"],
        model=row["model"],
        finish=row["finish"],
        warnings=tuple(row["warnings"]),
        timings=dict(row["timings"]),
    )


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise EnvironmentProblem("no pyarrow", "pyarrow, which tables need", "pip install 'vglamm[data]'") from error
    return pyarrow
