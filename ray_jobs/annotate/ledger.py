"""The folder of a run: what is done, so that a row is written exactly once whatever was killed.

    run.json                what the run is: the manifest's digest, the model, the settings
    rows/00000017.parquet   the rows of the video at position 17, as soon as they are known
    part-00000.parquet      the rows of positions 0 .. 63 in order, once all of them are known; their files in rows/ then go
    again/00000017.parquet  rows of a retry, which take the place of failed ones of that video once all of their part are known
    summary.json            what the last run of the command did

A file appears under its name only when it is whole, names follow from positions, and writing one again writes the same; so a
video that is worked on twice, because its worker died, still leaves one set of rows. Rows of a position whose part is there are
left-overs of a run that was killed between the two, and are dropped. A row that is answered is never replaced, and until the file
with the new rows is there, the one with the failed rows is; what a retry that was killed had written counts at the next run.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.books import flat
from vglamm.errors import ConfigError, EnvironmentProblem
from vglamm.places import Place

FORMAT, VERSION = "vglamm.annotations", 1
_ROWS, _AGAIN, _PART = "rows/{:08d}.parquet", "again/{:08d}.parquet", "part-{:05d}.parquet"


@dataclass(frozen=True)
class Ledger:
    """place: the folder. part: videos of each part. extra: columns that are passed through. again: positions whose failed rows are
    asked once more: they are not done until that is."""

    place: Place
    part: int
    extra: tuple[pa.Field, ...] = ()
    again: frozenset[int] = frozenset()

    @contextmanager
    def held(self, numbers: Iterable[int] | None) -> Iterator[None]:
        """Hold these parts of a local folder, None for all: two processes that write the same ones would take each other's rows.
        ConfigError if another process holds one of them. Of a folder elsewhere nobody can say: there two only waste work."""
        if not self.place.local:
            yield
            return
        folder = Path(self.place.path)
        with _changing(self.place):
            folder.mkdir(parents=True, exist_ok=True)
            opened = (folder / ".lock").open("w", encoding="utf-8")  # of which each part is a byte
        with opened as lock:
            try:
                for first, length in [(0, 0)] if numbers is None else [(number, 1) for number in numbers]:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, length, first)
            except (BlockingIOError, PermissionError) as error:
                raise ConfigError(
                    f"another process at work on the same videos in {self.place.text}",
                    "one at a time, or processes with different shares",
                    "wait for the first to end, give each its own --shard, or choose another --out",
                ) from error
            yield  # the locks go with the process, however it ends

    def claim(self, settings: dict[str, Any]) -> bool:
        """Make the folder this run's, or recognise it as such (True). ConfigError if it is another run's."""
        if self.known(settings):
            return True
        self._put("run.json", json.dumps(self._wanted(settings), indent=2, sort_keys=True).encode() + b"\n")
        return False

    def summarise(self, tree: dict[str, Any]) -> None:
        """Keep what the command did."""
        self._put("summary.json", json.dumps(tree, indent=2).encode() + b"\n")

    def _wanted(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, "part": self.part, **settings}

    def known(self, settings: dict[str, Any]) -> bool:
        """Whether the folder is this run's. False for one that holds nothing yet, ConfigError if it is another run's."""
        wanted, at = self._wanted(settings), self.place.inside("run.json")
        if not at.is_file():
            if any(not os.path.basename(path).startswith(".") for path in self.place.files(deep=False)):
                raise ConfigError(
                    f"{self.place.text}, which has files but no run.json", "a new or empty folder", "choose another --out"
                )
            return False
        known = _with_later_limits(json.loads(at.read()), wanted)
        if known != wanted:
            raise ConfigError(
                f"another run in {self.place.text} ({_changes(known, wanted)})",
                "the same videos, questions, model and sampling",
                "choose another --out",
            )
        return True

    def done(self, positions: Iterable[int]) -> set[int]:
        """Those of ``positions`` whose rows are written."""
        parts, kept = self._names(""), self._names("rows")
        renewed = self._names("again") if self.again else set()
        return {p for p in positions if (_name(p) in renewed if p in self.again else self._part(p) in parts or _name(p) in kept)}

    def failed(self, positions: Iterable[int]) -> set[int]:
        """Places in the run of the failed rows of ``positions``, which are done."""
        found = set()
        for home in self._homes(positions):
            with self.place.system.open_input_file(self.place.inside(home).path) as file:
                rows = parquet.read_table(file, columns=["position", "status"]).to_pylist()
            found |= {row["position"] for row in rows if row["status"] == annotation.FAILED}
        return found

    def _homes(self, positions: Iterable[int]) -> dict[str, list[int]]:
        """In which files the rows of positions are: those of their parts, or their own."""
        parts, homes = self._names(""), dict[str, list[int]]()
        for p in positions:
            homes.setdefault(self._part(p) if self._part(p) in parts else _ROWS.format(p), []).append(p)
        return homes

    def _names(self, folder: str) -> set[str]:
        place = self.place.inside(folder) if folder else self.place
        return {os.path.basename(path) for path in place.files(deep=False)}

    def write(self, position: int, rows: Sequence[Annotation]) -> None:
        """Keep the rows of a video, in a retry those that were asked again. Called wherever they were made. EnvironmentProblem if
        they cannot be written."""
        name = (_AGAIN if position in self.again else _ROWS).format(position)
        self._put(name, self._bytes(annotation.table(rows, self.extra)))

    def check_shared(self) -> None:
        """EnvironmentProblem where this folder is not the run's, as on a node whose disk is another than the driver's."""
        if not self.place.inside("run.json").is_file():
            raise EnvironmentProblem(
                f"{self.place.text}, which this node does not share with the others",
                "a folder that every node sees, or one like s3://BUCKET/NAME",
                "choose another --out; a part that was not written is done again",
            )

    def _put(self, name: str, data: bytes) -> None:
        place = self.place.inside(name)
        with _changing(place):
            place.write(data)

    def settle(self, positions: Iterable[int]) -> None:
        """Let the rows of a retry take the place of the failed ones. Does nothing twice."""
        kept = self._names("again")
        there = [p for p in positions if _name(p) in kept]
        for name, renewed in self._homes(there).items() if there else ():
            home, files = self.place.inside(name), [self.place.inside(_AGAIN.format(p)) for p in renewed]
            self._put(name, self._bytes(_renewed(_table(home), pa.concat_tables(map(_table, files)))))
            _drop(files)

    def close_part(self, number: int, positions: Sequence[int]) -> None:
        """Join the rows of all positions of a part into its file, then drop theirs. Does nothing twice."""
        self.settle(positions)
        target = self.place.inside(_PART.format(number))
        files = [self.place.inside(_ROWS.format(position)) for position in positions]
        if not target.is_file():
            self._put(_PART.format(number), self._bytes(pa.concat_tables(map(_table, files))))
        _drop(files)

    def statuses(self) -> dict[str, int]:
        """Rows of all parts by status, and of the failed by ``failed: type``; only those columns are read."""
        counts: dict[str, int] = {}
        for path in self.place.files(deep=False):
            if os.path.basename(path).startswith("part-"):
                with self.place.system.open_input_file(path) as file:
                    rows = parquet.read_table(file, columns=["status", "error_type"]).to_pylist()
                for row in rows:
                    name = row["status"] if row["status"] != annotation.FAILED else f"failed: {row['error_type']}"
                    counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def _part(self, position: int) -> str:
        return _PART.format(position // self.part)

    @staticmethod
    def _bytes(table: pa.Table) -> bytes:
        """One row in a group: masks are large and rows are read one at a time."""
        sink = io.BytesIO()
        parquet.write_table(table, sink, compression="zstd", row_group_size=1 if table.num_rows < 2 else 16)
        return sink.getvalue()


@contextmanager
def _changing(place: Place) -> Iterator[None]:
    """What a place does not take is the machine's trouble, not a video's."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"{place.text}, which cannot be written ({error.strerror or error})",
            "a folder that is there, may be written to and has room",
            "mend that; then the same command goes on, and nothing is lost",
        ) from error


def _drop(files: Iterable[Place]) -> None:
    for file in files:
        with _changing(file):
            file.delete()


def _table(place: Place) -> pa.Table:
    return parquet.read_table(io.BytesIO(place.read()))


def _renewed(old: pa.Table, new: pa.Table) -> pa.Table:
    """The old rows, those that failed replaced by the new ones of their places in the run."""
    there = {position: number for number, position in enumerate(new["position"].to_pylist())}
    places = zip(old["position"].to_pylist(), old["status"].to_pylist(), strict=True)
    return pa.concat_tables(
        new.slice(there[position], 1) if status == annotation.FAILED and position in there else old.slice(number, 1)
        for number, (position, status) in enumerate(places)
    )


def _name(position: int) -> str:
    return os.path.basename(_ROWS.format(position))


def _changes(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    theirs, ours = flat(known), flat(wanted)
    changed = [name for name in sorted({*theirs, *ours} - {"manifest"}) if theirs.get(name) != ours.get(name)]
    told = [f"{name}: {theirs.get(name, 'nothing')} there, {ours.get(name, 'nothing')} now" for name in changed]
    return "; ".join(told if known.get("manifest") == wanted.get("manifest") else ["other videos or questions", *told])


def _with_later_limits(known: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What is known of a run, with the limits that were added since it began as they are now: nobody chose them then, and what is
    within them gets the rows that it would have got."""
    settings, now = known.get("settings"), wanted.get("settings", {}).get("limits")
    if not isinstance(settings, dict) or "limits" not in settings or now is None:
        return known
    return known | {"settings": settings | {"limits": now | settings["limits"]}}
