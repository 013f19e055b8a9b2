"""Where an export is put: safe names for ids, and targets that appear under their names only when they are whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from uuid import uuid4

from vglamm.errors import ConfigError, DialogueError

LONGEST = 200
"""Characters of a name: file systems take 255 bytes, and suffixes follow."""

MARK = "export.json"
"""The file that tells a folder of ours from any other: only such a folder is ever replaced."""


def safe_name(identity: str) -> str:
    """A name for an id that is one plain part of a path on every system; different ids have different names.

    ASCII letters, digits, ``_``, ``-``, ``~`` and inner dots stay; all else becomes ``%XX`` for each byte of its UTF-8, as in a
    URL, so that ``urllib.parse.unquote`` gives the id back. A longer name than :data:`LONGEST` keeps its beginning and ends in
    ``%-`` and a hash, which no other name holds.
    """
    name = quote(identity, safe="", errors="surrogatepass")
    for edge in (0, -1):  # hidden files, "." and "..", and the last dot that some systems drop
        if name and name[edge] == ".":
            name = "%2E" + name[1:] if edge == 0 else name[:-1] + "%2E"
    if len(name) > LONGEST:
        digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        name = f"{name[: LONGEST - 34]}%-{digest}"
    return name or "%"


def frame_name(number: int) -> str:
    """The name of a frame by its number in the source, as in DAVIS, MOSE and YouTube-VOS: five digits or more."""
    return f"{number:05d}"


def fresh(path: Path) -> Path:
    """``path``, which nothing may have been written to: on disks that do not tell ``A`` from ``a``, ids can collide all the same.

    Raises ConfigError if it exists.
    """
    if path.exists():
        raise ConfigError(
            f"two rows that are both named {path.name}", "ids that differ", "rename one of the videos, or annotate apart"
        )
    return path


class Lines:
    """Elements of a JSON list or object, one a line, written as they come to a text file."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.count = file, 0

    def add(self, value: Any, key: str | None = None) -> None:
        """Write one element, of an object under ``key``. Raises DialogueError for what JSON cannot hold."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise DialogueError(
                f"a row that JSON cannot hold ({error})", "finite numbers and text", "report this as a bug"
            ) from error
        name = "" if key is None else json.dumps(key, ensure_ascii=False) + ":"
        self.file.write(("," if self.count else "") + "\n" + name + text)
        self.count += 1


@contextmanager
def new_file(target: Path, overwrite: bool) -> Iterator[Path]:
    """A path to write to, beside ``target``; the file gets its name when the block ends well, and is removed if not.

    Raises ConfigError for a folder, or a file that is not empty unless ``overwrite``.
    """
    target = target.resolve()
    if target.is_dir():
        raise ConfigError(f"the folder {target}", "the path of a file to write", "name a file in it")
    if target.exists() and target.stat().st_size and not overwrite:
        raise ConfigError(f"{target}, which exists", "a new file", "choose another name, or pass --overwrite")
    part = _beside(target)
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder to write to, beside ``target``; it gets its name when the block ends well, and is removed if not.

    Raises ConfigError for a file, or a folder that is not empty unless ``overwrite`` and it is an export (:data:`MARK`).
    """
    target = target.resolve()
    if target.exists() and not target.is_dir():
        raise ConfigError(f"the file {target}", "the path of a folder to write", "choose another name")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise ConfigError(f"{target}, which is not empty", "a new folder", "choose another name, or pass --overwrite")
        if not (target / MARK).is_file():
            raise ConfigError(f"{target}, which no export wrote (it has no {MARK})", "an export to replace", "empty it yourself")
    part, old = _beside(target), _beside(target)
    part.mkdir()
    try:
        yield part
        if target.exists():
            target.rename(old)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def mark(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write :data:`MARK` with ``facts`` into a folder."""
    (folder / MARK).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _beside(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".export-{uuid4().hex}.part")
