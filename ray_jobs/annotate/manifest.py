"""What is to be annotated: a folder, a glob or a table of videos -> an ordered list, the same every time it is read.

Everything found is listed: what cannot be a video is told apart by its name only later, as a row that says so. The order is that of
the table, or of the names; positions in it name the work for good, so that a run can be taken up again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from ray_jobs.annotate import columns
from vglamm.annotation import COLUMNS, schema
from vglamm.errors import ConfigError
from vglamm.places import Place, join

TABLES = (".parquet", ".jsonl", ".ndjson", ".csv")
MEDIA = frozenset(
    f".{kind}"
    for kind in (
        *("mp4", "m4v", "mov", "qt", "3gp", "3g2", "f4v", "mj2", "mkv", "mk3d", "webm", "avi", "divx", "flv", "ogv", "ogm"),
        *("ts", "mts", "m2t", "m2ts", "mpg", "mpeg", "mpe", "m1v", "m2v", "vob", "wmv", "asf", "rm", "rmvb", "wtv", "mxf", "nut"),
        *("ivf", "obu", "h264", "avc", "h265", "hevc", "mjpg", "mjpeg", "y4m"),
        *("gif", "jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"),
    )
)
"""Endings of what :mod:`vglamm.media` opens."""
_TEXTS = ("uri", "id", "video", "question", "questions")
_NAMED = {*_TEXTS, *columns.SAMPLING}


@dataclass(frozen=True)
class Job:
    """One video and its questions. position: place in the manifest. first: place of its first row among all rows of the run. id:
    unique. sampling: its own, over that of the run. extra: columns that are passed through. skipped: why it is not looked at, or
    None. video: an id that jobs about one video share; empty: its own. only: numbers of the questions that are asked in a retry;
    empty: all."""

    position: int
    first: int
    id: str
    uri: str
    questions: tuple[str, ...]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    skipped: str | None = None
    video: str = ""
    only: tuple[int, ...] = ()

    @property
    def asked(self) -> tuple[int, ...]:
        """Numbers of the questions that are asked, from 0."""
        return self.only or tuple(range(len(self.questions)))

    @property
    def row_ids(self) -> tuple[str, ...]:
        """Ids of its rows: the video's, then ``#2``, ``#3``, ..."""
        return tuple(self.id if n == 1 else f"{self.id}#{n}" for n in range(1, len(self.questions) + 1))


@dataclass(frozen=True)
class Manifest:
    """All jobs of a run in order. extra: the passed-through columns and their types. digest: of everything above."""

    jobs: tuple[Job, ...]
    extra: tuple[pa.Field, ...]

    @property
    def rows(self) -> int:
        return sum(len(job.questions) for job in self.jobs)

    @property
    def digest(self) -> str:
        hashed = hashlib.sha256()
        for job in self.jobs:
            told = {name: value for name, value in asdict(job).items() if name != "only"}
            hashed.update(json.dumps(told, default=str, sort_keys=True).encode() + b"\n")
        return hashed.hexdigest()

    def shard(self, number: int, of: int, part: int) -> Manifest:
        """Every ``of``-th run of ``part`` jobs from ``number`` (1 .. of) on. Positions stay those of the whole."""
        if not 1 <= number <= of:
            raise ConfigError(f"shard {number}/{of}", "1/n to n/n", "number shards from 1")
        return Manifest(tuple(job for job in self.jobs if (job.position // part) % of == number - 1), self.extra)

    def limit(self, jobs: int | None) -> Manifest:
        """The first ``jobs`` of them."""
        return self if jobs is None else Manifest(self.jobs[:jobs], self.extra)


def read_manifest(source: str, questions: Sequence[str], out: str | None = None) -> Manifest:
    """source: a folder, a glob, one media file, or a table (Parquet, JSONL, CSV) with a column ``uri`` and, as it likes, ``id``,
    ``video``, ``question`` or ``questions``, those of :mod:`ray_jobs.annotate.columns` and columns to pass through; local or any
    address that pyarrow or fsspec knows. questions: asked of every video that the table gives none. out: where results go, and
    beside which they are tracked; that is no source, or a second run would find the first. ConfigError for nothing found, no
    question, doubled ids or a column of our own."""
    place = Place.of(source)
    if os.path.splitext(place.path)[1].lower() in TABLES:
        table = _table(place)
        return _listed(table.to_pylist(), list(table.schema), questions, folder=place.parent)
    if place.is_folder():  # also one whose name looks like a pattern
        below = len(place.path.rstrip("/")) + 1
        found = [path for path in place.files() if not any(name.startswith(".") for name in path[below:].split("/"))]
    elif place.is_file():
        found = [place.path]
    else:
        found = place.glob() if any(mark in place.path for mark in "*?[") else []
    found = _without(found, place, out)
    if not found:
        raise ConfigError(f"nothing at {source}", "a folder, a glob or a table of videos", "check the address")
    root = os.path.commonpath([os.path.dirname(path) for path in found]) if found else ""
    rows = [{"uri": place.uri(path), "id": os.path.relpath(path, root)} for path in found]
    return _listed(rows, [], questions, folder=None)


def _without(found: list[str], place: Place, out: str | None) -> list[str]:
    target = place if out is None else Place.of(out)
    if out is None or target.scheme != place.scheme:
        return found
    beside = os.path.dirname(target.path)
    ours = (target.path, os.path.join(beside, "mlflow"), os.path.join(beside, "mlflow.db"))
    return [path for path in found if not any(path == one or path.startswith(f"{one}/") for one in ours)]


def _table(place: Place) -> pa.Table:
    import pyarrow.parquet

    if not place.is_file():
        raise ConfigError(f"no table at {place.text}", "a Parquet, JSONL or CSV file", "check the address")
    data, kind = place.read(), os.path.splitext(place.path)[1].lower()
    try:
        if kind == ".parquet":
            table = pyarrow.parquet.read_table(io.BytesIO(data))
        else:
            table = _csv(data) if kind == ".csv" else _json(data)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise ConfigError(f"{place.text}, which cannot be read ({error})", "a whole table", "check the file") from error
    if "uri" not in table.column_names:
        raise ConfigError(f"{place.text} with {', '.join(table.column_names)}", "a column uri", "name the videos' column uri")
    return table


def _json(data: bytes) -> pa.Table:
    """Our columns are texts also where they look like times: an id 2024-05-01 has no hour."""
    import pyarrow.json

    table = pyarrow.json.read_json(io.BytesIO(data))
    times = [f.name for f in table.schema if f.name in _TEXTS and pa.types.is_timestamp(f.type)]
    if not times:
        return table
    texts = pyarrow.json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in times]))
    return pyarrow.json.read_json(io.BytesIO(data), parse_options=texts)


def _csv(data: bytes) -> pa.Table:
    """Our columns are texts whatever they look like: an id 007 is not 7. Types of the others are judged by all rows."""
    import pyarrow.csv

    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        read_options=pyarrow.csv.ReadOptions(block_size=min(max(len(data), 1), 2**31 - 1)),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(_TEXTS, pa.string())),
    )


def _listed(
    rows: Iterable[Mapping[str, Any]], fields: Sequence[pa.Field], questions: Sequence[str], folder: str | None
) -> Manifest:
    extra = tuple(f for f in fields if f.name not in _NAMED)
    if taken := sorted({f.name for f in extra} & set(COLUMNS)):
        raise ConfigError(f"columns {', '.join(taken)}", "names that results do not use", "rename them in the table")
    _check_passed(extra)
    jobs: list[Job] = []
    seen: dict[str, int] = {}  # ids of rows of the run -> the row that they come from
    first = 0
    for position, row in enumerate(rows):
        uri = row["uri"]
        if not isinstance(uri, str) or not uri:
            raise ConfigError(f"row {position} with uri {uri!r}", "an address", "fill in the column uri")
        name = uri if row.get("id") in (None, "") else str(row["id"])
        asked = columns.questions(row, questions, position)
        own = columns.sampling(row, position)
        passed = {f.name: row[f.name] for f in extra}
        video = name if row.get("video") in (None, "") else str(row["video"])
        job = Job(position, first, name, join(folder, uri), asked, own, passed, _why_skipped(uri), video)
        for one in job.row_ids:
            if one in seen:
                raise ConfigError(f"id {one!r} in rows {seen[one]} and {position}", "ids that differ", "give each row its own id")
            seen[one] = position
        jobs.append(job)
        first += len(asked)
    if not jobs:
        raise ConfigError("a table without rows", "at least one video", "check the table")
    return Manifest(tuple(jobs), extra)


def _check_passed(extra: Sequence[pa.Field]) -> None:
    """Rows are written when their videos are done: a column that cannot be would cost that work."""
    import pyarrow.parquet

    for one in extra:
        try:
            pyarrow.parquet.write_table(schema([one]).empty_table(), io.BytesIO())
        except pa.ArrowException as error:
            raise ConfigError(
                f"a column {one.name} of type {one.type}, which cannot be written ({error})", "one that Parquet can hold", "drop it"
            ) from error


def _why_skipped(uri: str) -> str | None:
    """A name that no video or image has. Names without a suffix may be anything, also folders of frames."""
    suffix = os.path.splitext(uri.split("?", 1)[0])[1].lower()
    if suffix and suffix not in MEDIA and not suffix[1:].isdigit() and len(suffix) <= 6:
        return f"got a file ending in {suffix}; expected a video or image; rename it if it is one"
    return None
