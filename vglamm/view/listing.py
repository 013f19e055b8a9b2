"""The rows of a run as a list: which of them a status and some words select, a page of these, and one row with all it holds.

A run may have a hundred thousand rows. Kept in memory are their ids and states (some 40 bytes a row) and the results of the last
searches. Words are looked for in a walk over the text columns, a few thousand rows at a time; masks are read for one row only.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm import annotation
from vglamm.annotation import COLUMNS, STATUSES, Annotation
from vglamm.errors import ConfigError

SEARCHED = ("id", "question", "text", "error_type", "error")
"""Where words are looked for. A phrase is a piece of its text (an :class:`~vglamm.answer.Answer` refuses others), and the id of a
row begins with that of its video: neither needs a look of its own."""

SHOWN = ("id", "question", "status", "text", "phrases", "error_type", "error")
"""What the list shows of a row."""

PAGE = 50
"""Rows on a page."""

KEPT_SEARCHES, KEPT_ROWS, BATCH = 16, 4, 4096


@dataclass(frozen=True)
class Selection:
    """What of a run is looked at. status: one of ``annotation.STATUSES``, or "" for all. query: words that a row must hold, each of
    them anywhere and in any case; "words in quotes" stand together."""

    status: str = ""
    query: str = ""

    def __post_init__(self) -> None:
        if self.status not in ("", *STATUSES):
            raise ConfigError(f"status {self.status!r}"[:80], f"one of {', '.join(STATUSES)}, or none", "choose one on the page")

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(quoted or word for quoted, word in re.findall(r'"([^"]+)"|([^\s"]+)', self.query))


@dataclass(frozen=True)
class Page:
    """Some rows of a selection. rows: values of :data:`SHOWN`. total: rows of the selection. number: of this page, from 0. counts:
    rows that hold the words, by status; "" for all."""

    rows: list[dict[str, Any]]
    total: int
    number: int
    counts: dict[str, int]

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))


@dataclass(frozen=True)
class Place:
    """Where a row stands in a selection. at: from 0, None if the selection does not hold it. previous, next: ids, or None."""

    at: int | None
    total: int
    previous: str | None
    next: str | None


@dataclass(frozen=True)
class _Group:
    """A row group of a file; ``first`` is the number of its first row in the run."""

    file: str
    number: int
    first: int
    rows: int


@dataclass(frozen=True)
class _Index:
    """A run as it is now. state tells whether it has changed since; ids: an Arrow array; status: uint8[N], places in STATUSES."""

    state: tuple[Any, ...]
    groups: tuple[_Group, ...]
    ids: Any
    status: NDArray[np.uint8]


class Listing:
    """The rows of a run, found again when its files change. May be used from several threads. ConfigError if there is no run."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        self._lock = threading.Lock()
        self._found = OrderedDict[tuple[str, ...], NDArray[np.int64]]()
        self._rows = OrderedDict[str, Annotation]()
        self.version = 0
        """Grows when the files of the run change: what was made from older ones is stale."""
        self.system, self.files = annotation.parts(url)
        self._index = self._indexed(None)

    def page(self, selection: Selection, number: int = 0) -> Page:
        """Page ``number`` (the last one, if there are fewer) of a selection."""
        with self._lock:
            index = self._index = self._indexed(self._index)
            found = self._holding(index, selection.words)
        status = index.status[found]
        counts = {"": len(found)} | {name: int((status == code).sum()) for code, name in enumerate(STATUSES)}
        chosen = found if not selection.status else found[status == STATUSES.index(selection.status)]
        number = min(number, max(0, (len(chosen) - 1) // PAGE))
        return Page(self._shown(index, chosen[number * PAGE : (number + 1) * PAGE]), len(chosen), number, counts)

    def place(self, row: str, selection: Selection) -> Place | None:
        """Where the row with this id stands in a selection; None if the run has no such row."""
        with self._lock:
            index = self._index
            found = self._holding(index, selection.words)
        number = self._number(index, row)
        if number is None:
            return None
        if selection.status:
            found = found[index.status[found] == STATUSES.index(selection.status)]
        at = int(np.searchsorted(found, number))
        here = at < len(found) and found[at] == number
        before, after = at - 1, at + 1 if here else at
        return Place(
            at if here else None,
            len(found),
            index.ids[int(found[before])].as_py() if before >= 0 else None,
            index.ids[int(found[after])].as_py() if after < len(found) else None,
        )

    def row(self, row: str) -> Annotation | None:
        """The row with this id, masks and all; None if the run has none. Raises VglammError for a row that is broken."""
        with self._lock:
            index = self._index
            if row in self._rows:
                return self._rows[row]
        number = self._number(index, row)
        if number is None:
            return None
        group = next(group for group in reversed(index.groups) if group.first <= number)
        for first, batch in self._batches([group], None, 16):
            if number < first + batch.num_rows:
                found = Annotation.from_row(batch.slice(number - first, 1).to_pylist(maps_as_pydicts="strict")[0])
                with self._lock:
                    if index is self._index:
                        _keep(self._rows, row, found, KEPT_ROWS)
                return found
        raise ConfigError(f"a file without row {row!r}", "the file as it was", "load the page again")

    @staticmethod
    def _number(index: _Index, row: str) -> int | None:
        import pyarrow as pa
        from pyarrow import compute

        number = compute.index(index.ids, pa.scalar(row, index.ids.type)).as_py()
        return None if number < 0 else int(number)

    def _indexed(self, before: _Index | None) -> _Index:
        """The index, made anew unless the files are those of ``before``."""
        import pyarrow as pa
        from pyarrow import compute

        _, files = annotation.parts(self.url)
        with _told(self.url):
            state = tuple((entry.path, entry.size, entry.mtime_ns) for entry in self.system.get_file_info(files))
        if before is not None and before.state == state:
            return before
        self._found.clear()
        self._rows.clear()
        self.version, self.files = self.version + 1, files
        groups = tuple(self._groups(files))
        ids, status = [], []
        for _, batch in self._batches(groups, ("id", "status"), 1 << 16):
            ids.append(batch.column("id").cast(pa.large_string()))
            codes = compute.index_in(batch.column("status").cast(pa.string()), value_set=pa.array(STATUSES))
            status.append(codes.fill_null(len(STATUSES)).to_numpy(zero_copy_only=False).astype(np.uint8))
        whole = pa.concat_arrays(ids) if ids else pa.array([], pa.large_string())
        return _Index(state, groups, whole, np.concatenate(status) if status else np.zeros(0, np.uint8))

    def _groups(self, files: Iterable[str]) -> Iterator[_Group]:
        first = 0
        for name in files:
            with _told(name), self._open(name) as file:
                if missing := [column for column in COLUMNS if column not in file.schema_arrow.names]:
                    raise ConfigError(
                        f"{name} without {', '.join(missing)}", "rows that `vglamm annotate` wrote", "check the folder"
                    )
                counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            for number, rows in enumerate(counts):
                yield _Group(name, number, first, rows)
                first += rows

    def _holding(self, index: _Index, words: tuple[str, ...]) -> NDArray[np.int64]:
        """Numbers of the rows that hold all the words, int64, increasing. Called with the lock: one walk at a time."""
        if not words:
            return np.arange(len(index.status))
        if words not in self._found:
            parts = [first + np.flatnonzero(_holds(batch, words)) for first, batch in self._batches(index.groups, SEARCHED, BATCH)]
            _keep(self._found, words, np.concatenate(parts) if parts else np.zeros(0, np.int64), KEPT_SEARCHES)
        self._found.move_to_end(words)
        return self._found[words]

    def _shown(self, index: _Index, numbers: NDArray[np.int64]) -> list[dict[str, Any]]:
        import pyarrow as pa

        groups = [group for group in index.groups if ((numbers >= group.first) & (numbers < group.first + group.rows)).any()]
        rows: list[dict[str, Any]] = []
        for first, batch in self._batches(groups, SHOWN, BATCH):
            inside = numbers[(numbers >= first) & (numbers < first + batch.num_rows)] - first
            if len(inside):
                rows += batch.take(pa.array(inside)).to_pylist()
        return rows

    def _batches(self, groups: Sequence[_Group], columns: Sequence[str] | None, size: int) -> Iterator[tuple[int, Any]]:
        """(number of the first row, Arrow batch of at most ``size`` rows) through these row groups; no other column is read."""
        for name, several in itertools.groupby(groups, key=lambda group: group.file):
            with _told(name), self._open(name) as file:
                for group in several:
                    first = group.first
                    for batch in file.iter_batches(size, row_groups=[group.number], columns=columns and list(columns)):
                        yield first, batch
                        first += batch.num_rows

    def _open(self, name: str) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(name, filesystem=self.system, buffer_size=1 << 20, pre_buffer=False)


def _holds(batch: Any, words: Sequence[str]) -> NDArray[np.bool_]:
    """bool[rows]: whether each word is in one of the columns."""
    import pyarrow as pa
    from pyarrow import compute

    columns = [column.cast(pa.large_string()) for column in batch.columns]
    holds = np.ones(batch.num_rows, np.bool_)
    for word in words:
        somewhere = np.zeros(batch.num_rows, np.bool_)
        for column in columns:
            found = compute.match_substring(column, word, ignore_case=True).fill_null(False)
            somewhere |= found.to_numpy(zero_copy_only=False)
        holds &= somewhere
    return holds


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What Arrow and the file system raise, as ours."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(
            f"{name}, which cannot be read ({error})", "Parquet as `vglamm annotate` wrote it", "check the file"
        ) from error
