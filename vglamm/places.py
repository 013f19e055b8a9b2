"""Addresses: local paths and what pyarrow or fsspec can reach (s3, gs, az, ...), behind the few operations that are needed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from vglamm.errors import ConfigError, EnvironmentProblem, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media.folder import frame_names
from vglamm.media.limits import Limits
from vglamm.media.read import local_path

_BLOCK = 4 * 1024**2
_PLAIN = "/!$&'()*+,;=:@-._~"
"""What stands in the path of an address as it is, beside letters and digits."""


@dataclass(frozen=True)
class Place:
    """A file or folder somewhere. text: as the user wrote it, without its query. path: inside ``system``, a pyarrow file system.
    scheme: "" for local. query: options of the file system, as ``endpoint_override=...`` of S3."""

    text: str
    path: str
    system: Any
    scheme: str
    query: str = ""

    @staticmethod
    def of(text: str | os.PathLike[str]) -> Place:
        """ConfigError for an address that no file system here understands."""
        from pyarrow import fs

        text = local_path(os.fspath(text))
        if "://" not in text:
            return Place(text, os.path.abspath(os.path.expanduser(text)), fs.LocalFileSystem(), "")
        scheme, rest = text.split("://", 1)
        bare, _, query = text.partition("?")
        if ":" in rest.split("/", 1)[0].rpartition("@")[0]:
            raise ConfigError(
                f"a {scheme} address with a password in it",
                "an address without credentials, which end up in logs and results",
                "put them where the file system's own client looks: its environment variables or config file",
            )
        try:
            # names as people write them, with blanks, accents or #; what is %XX already stays
            system, path = fs.FileSystem.from_uri(quote(bare, safe=_PLAIN + "%") + text[len(bare) :])
        except (OSError, ValueError) as error:  # not one of pyarrow's own, or wrong for it
            system, path = _by_fsspec(text, error)
        return Place(bare, path.rstrip("/"), system, scheme, query)

    @property
    def local(self) -> bool:
        return not self.scheme

    @property
    def parent(self) -> str:
        """The folder's address, for names that are relative to it (see :func:`join`)."""
        return os.path.dirname(self.path) if self.local else self.uri(self.path.rsplit("/", 1)[0])

    def uri(self, path: str) -> str:
        """The address of another path in the same file system: :meth:`of` gives that path back, whatever characters are in it."""
        from pyarrow.fs import PyFileSystem

        if self.local:
            return path
        named = path if isinstance(self.system, PyFileSystem) else quote(path, safe=_PLAIN)  # fsspec takes names as they are
        return f"{self.scheme}://{named}" + (f"?{self.query}" if self.query else "")

    def inside(self, name: str) -> Place:
        """A name in this folder."""
        return Place(f"{self.text.rstrip('/')}/{name}", f"{self.path}/{name}", self.system, self.scheme, self.query)

    def is_folder(self) -> bool:
        from pyarrow import fs

        return bool(self.system.get_file_info(self.path).type == fs.FileType.Directory)

    def is_file(self) -> bool:
        from pyarrow import fs

        return bool(self.system.get_file_info(self.path).type == fs.FileType.File)

    def size(self) -> int | None:
        """Bytes of a file; None if it is none."""
        return self.system.get_file_info(self.path).size if self.is_file() else None

    def files(self, deep: bool = True) -> list[str]:
        """Paths of all files below, sorted; empty if there is no such folder. ConfigError for a name that is no text."""
        from pyarrow import fs

        try:
            found = self.system.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=deep))
            return sorted(entry.path for entry in found if entry.type == fs.FileType.File)
        except UnicodeDecodeError as error:
            got = f"a file in {self.text} whose name is not UTF-8 ({error.object!r})"
            raise ConfigError(got, "names that a table of results can hold", "rename it") from error

    def glob(self) -> list[str]:
        """Files that this address, a pattern with ``*``, ``**``, ``?`` or ``[]``, fits; aside from hidden ones, and those in
        hidden folders that it does not name."""
        from fsspec.utils import glob_translate

        root = self.path.split("*", 1)[0].split("?", 1)[0].split("[", 1)[0].rsplit("/", 1)[0]
        names = Place(root, root, self.system, self.scheme).files()
        fits = re.compile(glob_translate(self.path)).match
        named = set(self.path.split("/"))
        parts = ((name, name[len(root) :].split("/")) for name in names if fits(name))
        return [name for name, below in parts if not any(one.startswith(".") and one not in named for one in below)]

    def read(self) -> bytes:
        with self.system.open_input_stream(self.path) as file:
            return bytes(file.read())

    def write(self, data: bytes) -> None:
        """All or nothing: a reader, or a writer that was killed, never leaves half a file under this name."""
        if not self.local:  # an object appears when it is whole
            with self.system.open_output_stream(self.path) as file:
                file.write(data)
            return
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except OSError:  # a full disk: what was written of it helps nobody
            os.unlink(partial)
            raise

    def delete(self) -> None:
        """Remove a file that may be gone already."""
        if self.is_file():
            self.system.delete_file(self.path)


def check_target(what: str, target: Path, source: str | None = None) -> None:
    """ConfigError for a file that could not be written, or that is the one that is read.

    what: for the message, such as "--json". source: path of the video, None for one in memory.
    """
    if target.is_dir():
        raise ConfigError(f"{what} {target}, a folder", "a file", "name one in it")
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigError(f"{what} {target} below {above}", "a folder that may be written to", "choose another place")
    if source is not None and target.exists() and os.path.exists(source) and os.path.samefile(target, source):
        raise ConfigError(f"{what} {target}, the video itself", "another file", "choose another name")


def ends_below(folder: Path, uri: str) -> Iterator[Path]:
    """Where a file may be that was read elsewhere and whose folder, or one above it, was copied to ``folder``: the whole path of
    its address below that, then shorter and shorter ends, the last part at last. Nowhere for an address without a name."""
    path = uri.partition("://")[2] if "://" in uri and not uri.startswith("file://") else local_path(uri)
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    yield from (folder.joinpath(*parts[first:]) for first in range(len(parts)))


def join(folder: str | None, uri: str) -> str:
    """An address as a table gives it: relative names are relative to the table."""
    if folder is None or "://" in uri or os.path.isabs(uri):
        return uri
    base, mark, query = folder.partition("?")
    return f"{base}/{uri}{mark}{query}"


@contextmanager
def local_copy(uri: str, limits: Limits) -> Iterator[str]:
    """A path of this machine with the bytes of ``uri``, a file or a folder of frames; a copy lives as long as the context.
    VideoNotFound, VideoTooLarge or VideoUnreadable; EnvironmentProblem if there is no room for the copy."""
    if "://" not in (path := local_path(uri)):
        yield path
        return
    try:
        place = Place.of(uri)
        folder = place.is_folder()
        files = place.files(deep=False) if folder else [place.path] if place.is_file() else []
        size = sum(entry.size for entry in place.system.get_file_info(files))
    except (ConfigError, OSError) as error:
        raise VideoUnreadable(f"{uri}, which cannot be reached ({error})", "an address that can be read", "check it") from error
    if not files:
        raise VideoNotFound(f"no file at {uri}", "the address of a video, an image or a folder of frames", "check the address")
    if size > limits.bytes:
        raise VideoTooLarge(f"{size} bytes in {uri}", f"at most {limits.bytes}", "shorten the video, or raise Limits.bytes")
    with tempfile.TemporaryDirectory(prefix="vglamm-") as scratch:
        target = Path(scratch, os.path.basename(place.path))
        (target if folder else target.parent).mkdir(exist_ok=True)
        try:
            for path in files:
                copy = target / os.path.basename(path) if folder else target
                with place.system.open_input_stream(path) as theirs, copy.open("wb") as ours:
                    shutil.copyfileobj(theirs, ours, _BLOCK)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise EnvironmentProblem(
                    f"no room in {scratch} for a copy of {uri}", f"{size} bytes", "free some, or set TMPDIR to a larger place"
                ) from error
            raise VideoUnreadable(f"{uri}, which broke off ({error})", "a complete download", "try again") from error
        yield str(target)


def sha256(path: str | os.PathLike[str]) -> str:
    """Of a file's bytes; of a folder of frames, of their names and bytes in order. VideoUnreadable if they cannot be read."""
    if not os.path.isdir(path):
        try:
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            got = f"{error.strerror or error} for {os.fspath(path)!r}"
            raise VideoUnreadable(got, "a file that can be read", "check the path and its rights") from error
    hashed = hashlib.sha256()
    for name in frame_names(path):
        hashed.update(name.encode() + b"\0" + bytes.fromhex(sha256(os.path.join(path, name))))
    return hashed.hexdigest()


def _by_fsspec(text: str, before: Exception) -> tuple[Any, str]:
    import fsspec
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        system, path = fsspec.core.url_to_fs(text)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{text} ({before}; {error})", "an address that pyarrow or fsspec knows", "check it and its package"
        ) from error
    return PyFileSystem(FSSpecHandler(system)), path
