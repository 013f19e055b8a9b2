"""Finding the video of a row again: where it was read, or in a folder, and only if it is the same file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vglamm.annotation import Annotation
from vglamm.errors import VideoNotFound
from vglamm.export.place import safe_name
from vglamm.media.read import local_path
from vglamm.places import ends_below, sha256


@dataclass(frozen=True)
class Sources:
    """Where videos are: below ``folder``, or, with None, where the rows say they were read."""

    folder: Path | None = None

    def find(self, row: Annotation) -> Path:
        """The local file (or folder of frames) that the row is about.

        In a folder it is looked for by the path in ``row.uri``, by shorter and shorter ends of it, and by ``row.video`` with any
        suffix. It counts only if its SHA-256 is the row's: masks on another video would be wrong without a sign of it.
        Raises VideoNotFound.
        """
        looked, others = list[str](), list[str]()
        for path in self._places(row):
            if (path.is_file() or path.is_dir()) and row.sha256 in (None, sha256(path)):
                return path.resolve()
            (others if path.exists() else looked).append(str(path))
        if others:
            raise VideoNotFound(f"{', '.join(others)}, not the file that {row.id} is about", f"SHA-256 {row.sha256}", _FIX)
        raise VideoNotFound(
            f"no video of {row.id} at {', '.join(looked) or row.uri}", "the file that was annotated, on this machine", _FIX
        )

    def _places(self, row: Annotation) -> Iterator[Path]:
        if self.folder is None:
            uri = local_path(row.uri)
            if "://" not in uri:
                yield Path(uri)
            return
        yield from ends_below(self.folder, row.uri)
        if row.video == safe_name(row.video):
            yield from sorted(found for found in self.folder.glob("*") if found.stem == row.video or found.name == row.video)


_FIX = "pass --videos with the folder that holds the videos"
