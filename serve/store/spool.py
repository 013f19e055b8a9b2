"""The spool: videos that came in, and records about them, about sessions and about jobs, where every replica reaches them.

    videos/v-0f..e1          the bytes of a video       videos/v-0f..e1.json     what is known of it
    sessions/s-5a..07.json   a session and its turns    sessions/s-5a..07/3.json the answer of its turn 3
    jobs/j-91..c4.json       a job                      jobs/j-91..c4/*.json     its progress, its answer, who works on it

Names are made here and never come from a client. A record appears whole or not at all, and is never pickled. What nobody has
touched for a while expires; when something was touched is what the newest of its files says, and ``used.json`` is there for its
date alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vglamm.errors import EnvironmentProblem, NotKept, Overloaded, RequestTooLarge
from vglamm.places import Place

VIDEOS, SESSIONS, JOBS = "videos", "sessions", "jobs"
KINDS = {VIDEOS: "v", SESSIONS: "s", JOBS: "j"}
PATTERNS = {kind: rf"^{letter}-[0-9a-f]{{32}}$" for kind, letter in KINDS.items()}
USED = "used"
_WRITE = 1024**2
_TOUCH = 60.0


class Spool:
    """address: a folder, made if missing, or an address that pyarrow or fsspec knows. room: bytes of all videos together. Calls
    block: an event loop makes them in threads."""

    def __init__(self, address: str, room: int) -> None:
        self.place, self.room = Place.of(address), room
        self._touched: dict[str, float] = {}
        try:
            if self.place.local:
                for kind in KINDS:
                    Path(self.place.path, kind).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EnvironmentProblem(
                f"the spool {address}, which cannot be made ({error})", "a folder", "choose another"
            ) from error

    def write(self, kind: str, name: str, record: dict[str, Any], part: str = "") -> None:
        """Keep a record whole. part: of several about one thing."""
        self._at(kind, name, part).write(json.dumps(record, allow_nan=False).encode())

    def read(self, kind: str, name: str, part: str = "") -> dict[str, Any]:
        """NotKept if there is none."""
        record = self.find(kind, name, part)
        if record is None:
            raise NotKept(f"{kind[:-1]} {name}", "one that is kept", "it expired, was deleted, or never was")
        return record

    def find(self, kind: str, name: str, part: str = "") -> dict[str, Any] | None:
        """A record, or None."""
        try:
            return dict(json.loads(self._at(kind, name, part).read()))
        except FileNotFoundError:
            return None

    def touch(self, kind: str, name: str) -> None:
        """Count a session or job as used now. Its record stays untouched, as somebody may be writing it."""
        now = time.monotonic()
        recent = {one: at for one, at in self._touched.items() if now - at < _TOUCH}
        if name not in recent:
            self.write(kind, name, {}, USED)
            self._touched = recent | {name: now}

    def delete(self, kind: str, name: str) -> None:
        """All that is kept of it; nothing happens if there is nothing."""
        self._at(kind, name).delete()  # first: without it the rest is not found any more
        if kind == VIDEOS:
            self.video(name).delete()
            return
        for path in self.place.inside(f"{kind}/{name}").files():
            self.delete_part(kind, name, Path(path).stem)

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Alone among all who use a folder as their spool, also when one of them dies; False in a store that cannot say it."""
        if not self.place.local:
            yield False
            return
        with open(Path(self.place.path, ".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield True

    def delete_part(self, kind: str, name: str, part: str) -> None:
        self._at(kind, name, part).delete()
        if self.place.local:
            with contextlib.suppress(OSError):  # other parts are there
                Path(self.place.path, kind, name).rmdir()

    def names(self, kind: str) -> list[tuple[float, str]]:
        """(when it or a part of it was last written, in Unix seconds, and name) of each record, the oldest first."""
        files = [(at, Path(path)) for at, path, _ in self._files(kind, parts=True) if path.endswith(".json")]
        known = {path.stem: at for at, path in files if path.parent.name == kind}
        for at, path in files:
            if path.parent.name in known:
                known[path.parent.name] = max(at, known[path.parent.name])
        return sorted((at, name) for name, at in known.items())

    def clear(self, before: float) -> None:
        """Drop bytes of videos, and parts of sessions and jobs, without a record that are older than this: whoever wrote them died
        over it."""
        if not self.place.local:
            return  # what was not finished is not there
        for kind in (SESSIONS, JOBS):
            for folder in Path(self.place.path, kind).iterdir():
                known = not folder.is_dir() or folder.with_name(f"{folder.name}.json").exists()
                if not known and folder.stat().st_mtime < before:
                    shutil.rmtree(folder, ignore_errors=True)  # another replica may be at it
        for path in Path(self.place.path, VIDEOS).iterdir():
            known = path.suffix == ".json" or path.with_name(f"{path.name}.json").exists()
            if not known and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def video(self, name: str) -> Place:
        """Where the bytes of a video are."""
        return self.place.inside(f"{VIDEOS}/{name}")

    async def receive(self, chunks: AsyncIterator[bytes], limit: int) -> str:
        """Keep the bytes of a video as they come, at most ``limit`` of them; its new name. RequestTooLarge, or Overloaded if the
        spool is full; then nothing is kept."""
        await asyncio.to_thread(self._check_room)
        name = new(VIDEOS)
        folder = Path(self.place.path, VIDEOS) if self.place.local else None
        with tempfile.NamedTemporaryFile(prefix=".partial-", dir=folder, delete=False) as partial:
            try:
                size, waiting = 0, bytearray()
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise RequestTooLarge(f"a video of more than {limit} bytes", f"at most {limit}", "send a shorter one")
                    waiting += chunk
                    if len(waiting) >= _WRITE:
                        await asyncio.to_thread(partial.write, bytes(waiting))
                        waiting.clear()
                partial.write(bytes(waiting))
                partial.flush()
                await asyncio.to_thread(self._settle, Path(partial.name), name)
            finally:
                Path(partial.name).unlink(missing_ok=True)
        return name

    def _settle(self, partial: Path, name: str) -> None:
        if self.place.local:
            partial.rename(self.video(name).path)
            return
        with partial.open("rb") as ours, self.place.system.open_output_stream(self.video(name).path) as theirs:
            while block := ours.read(_WRITE):
                theirs.write(block)

    def _check_room(self) -> None:
        used = sum(size for _, path, size in self._files(VIDEOS) if not path.endswith(".json"))
        if used >= self.room:
            raise Overloaded(f"a spool with {used} bytes of videos", f"less than {self.room}", "come again later", 60.0)

    def _at(self, kind: str, name: str, part: str = "") -> Place:
        assert re.fullmatch(PATTERNS[kind], name), "names are checked where they come in"
        return self.place.inside(f"{kind}/{name}/{part}.json" if part else f"{kind}/{name}.json")

    def _files(self, kind: str, parts: bool = False) -> Iterator[tuple[float, str, int]]:
        """(when written, path, bytes) of the files right inside the folder of a kind, or of those of parts too."""
        from pyarrow import fs

        where = self.place.inside(kind)
        for entry in where.system.get_file_info(fs.FileSelector(where.path, allow_not_found=True, recursive=parts)):
            if entry.type == fs.FileType.File and not entry.base_name.startswith("."):
                at = entry.mtime.timestamp() if entry.mtime is not None else time.time()
                yield at, entry.path, entry.size or 0


def new(kind: str) -> str:
    """A name that cannot be guessed."""
    return f"{KINDS[kind]}-{secrets.token_hex(16)}"
