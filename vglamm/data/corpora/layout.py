"""The files of a set: JSON whose every missing key is named, and the media beside it.

What is wrong with an index as a whole (no file, not JSON, no such key) raises CorpusError. What is wrong with the media or truth
of one entry is handed back, so that the case can be yielded with its reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from vglamm.data.corpora.case import Media
from vglamm.errors import CorpusError, VglammError
from vglamm.media.folder import FolderSource, frame_names

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A value in a file, and where it stands: ``file``, and ``key`` with a ``/`` between levels."""

    file: str
    key: str
    value: Any

    def __getitem__(self, name: str | int) -> Node:
        """The member called ``name``, or of that number. CorpusError if there is none."""
        found = self.get(name)
        if found is None:
            raise self.wrong(f"no {name!r}" if isinstance(self.value, dict | list) else self._kind(), f"a key {name!r}")
        return found

    def get(self, name: str | int) -> Node | None:
        """As ``[name]``, but None if there is no such member."""
        value = self.value
        if isinstance(value, dict) and name in value:
            return Node(self.file, f"{self.key}/{name}", value[name])
        if isinstance(value, list) and isinstance(name, int) and 0 <= name < len(value):
            return Node(self.file, f"{self.key}/{name}", value[name])
        return None

    def entries(self) -> Iterator[tuple[str, Node]]:
        """Names and members of an object, in the order of the file."""
        if not isinstance(self.value, dict):
            raise self.wrong(self._kind(), "an object")
        return ((str(name), Node(self.file, f"{self.key}/{name}", value)) for name, value in self.value.items())

    def items(self) -> list[Node]:
        """Members of a list."""
        if not isinstance(self.value, list):
            raise self.wrong(self._kind(), "a list")
        return [Node(self.file, f"{self.key}/{i}", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        """A text that is not blank."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(self._kind(), "a text")
        return self.value

    def whole(self) -> int:
        """A whole number, also one that is written as a text, as ids are in some sets."""
        value = self.value
        if isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if type(value) is not int:
            raise self.wrong(self._kind(), "a whole number")
        return value

    def number(self) -> float:
        """A number above or below 0, or 0; not infinity and not NaN."""
        if type(self.value) not in (int, float) or not abs(self.value) < float("inf"):
            raise self.wrong(self._kind(), "a number")
        return float(self.value)

    def path(self) -> str:
        """A relative path that stays inside the folder it is relative to."""
        return inside(self.text(), self)

    def wrong(self, got: str, expected: str) -> CorpusError:
        """The error that names this place."""
        place = f" at {self.key.removeprefix('/')}" if self.key else ""
        return CorpusError(f"{got} in {self.file}{place}", expected, "check the data set against its documented layout")

    def _kind(self) -> str:
        shown = repr(self.value)
        return f"{type(self.value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def inside(name: str, node: Node) -> str:
    """``name`` if it is a relative path without ``..``; CorpusError naming ``node`` if it could lead out of its folder."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise node.wrong(f"path {name!r}", "a path inside the data set")
    return name


def load(path: str | os.PathLike[str], encodings: Sequence[str] = ("utf-8",)) -> Node:
    """The JSON file at ``path``. encodings: tried in order. CorpusError if it is missing, unreadable or not JSON."""
    name = os.fspath(path)
    try:
        stat = os.stat(name)
        return Node(name, "", _parsed(name, stat.st_mtime_ns, stat.st_size, tuple(encodings)))
    except FileNotFoundError as error:
        raise CorpusError(f"no file {name}", "the index of the data set", "check the root and the split") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{name}, which cannot be read as JSON ({error})", "a JSON file", "download it again") from error


@lru_cache(maxsize=16)  # the truth of every case of a set is read from the same few files, and a mixture draws from several sets
def _parsed(name: str, changed: int, size: int, encodings: tuple[str, ...]) -> Any:
    data = Path(name).read_bytes()
    for encoding in encodings[:-1]:
        try:
            return json.loads(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    return json.loads(data.decode(encodings[-1]))


def listed(folder: Path, suffix: str) -> list[str]:
    """Names of the files in ``folder`` that end in ``suffix``, sorted. CorpusError if there is no such folder."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix) and not name.startswith("."))
    except OSError as error:
        raise CorpusError(f"no folder {folder}", f"a folder of *{suffix}", "check the root and the split") from error


def need_files(folder: Path, names: Sequence[str]) -> None:
    """CorpusError unless every name is a file in ``folder``."""
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        raise CorpusError(f"no folder {folder}", f"a folder with {len(names)} files", "download this part of the set") from error
    if missing := [name for name in names if name not in there]:
        raise CorpusError(
            f"{len(missing)} of {len(names)} files missing in {folder}, the first {missing[0]!r}",
            "every file that the index names",
            "download this part of the set again",
        )


@dataclass(frozen=True)
class Found:
    """Media of an entry. size: (H, W) of the first frame, None if it cannot be told. problem: why it cannot be used, or None."""

    media: Media
    size: tuple[int, int] | None
    problem: VglammError | None


def find_frames(folder: Path, names: Sequence[str], fps: float) -> Found:
    """A folder of frames: all ``names`` must be there, and the first be an image."""
    if not names:
        return Found(Media(str(folder)), None, _empty(folder))
    media = Media(str(folder), tuple(names), fps)
    size, problem = attempt(partial(_size, folder, names, fps))
    return Found(media, size, problem)


def _size(folder: Path, names: Sequence[str], fps: float) -> tuple[int, int]:
    need_files(folder, names)
    first = FolderSource(folder, names, fps).info
    return first.height, first.width


def find_folder(folder: Path, fps: float) -> Found:
    """A folder whose images are all frames, in the order of their names."""
    names, problem = attempt(lambda: frame_names(folder))
    return find_frames(folder, names, fps) if names else Found(Media(str(folder)), None, problem or _empty(folder))


def _empty(folder: Path) -> CorpusError:
    return CorpusError(f"no frame in {folder}", "the frames of a video", "download this part of the set")


def find_file(path: Path, *, is_image: bool = False) -> Found:
    """A video or image file, which must be there; it is not opened."""
    media = Media(str(path), is_image=is_image)
    missing = CorpusError(f"no file {path}", "every file that the index names", "download this part of the set")
    return Found(media, None, None if path.is_file() else missing)


def attempt(make: Callable[[], T]) -> tuple[T | None, VglammError | None]:
    """What ``make`` returns, or the typed error it raises."""
    try:
        return make(), None
    except VglammError as error:
        return None, error
