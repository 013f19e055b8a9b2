"""An answered turn as a file to keep: its JSON, COCO, or an overlay video. The writers are those of ``vglamm export``."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

from serve.settings import Settings
from serve.spool import Spool
from serve.videos import path_of
from vglamm import annotation
from vglamm.annotation import OK, Annotation
from vglamm.answer import Answer
from vglamm.errors import NotKept
from vglamm.export.coco import write_coco_vid
from vglamm.export.settings import Settings as ExportSettings
from vglamm.media.guarded import open_guarded
from vglamm.places import join, local_copy

FILES = {"json": "answer.json", "coco": "coco.json", "mp4": "overlay.mp4"}
TYPES = {"answer.json": "application/json", "coco.json": "application/json", "overlay.mp4": "video/mp4", "overlay.png": "image/png"}


class Exports:
    """Makes one file at a time: drawing and encoding take a core."""

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self.spool, self.settings = spool, settings
        self._one = asyncio.Semaphore(1)

    async def make(self, answer: Answer, video: str, name: str) -> bytes:
        """One of :data:`TYPES`. NotKept for a video of an image; VideoError if the source cannot be read again."""
        if name == "answer.json":
            return answer.to_json().encode()
        if answer.is_image == (name == "overlay.mp4") and name != "coco.json":
            kind = "image, shown by overlay.png" if answer.is_image else "video, shown by overlay.mp4"
            raise NotKept(f"{name} of an answer about a {kind}", "the one that fits", "ask for that")
        async with self._one:
            return await asyncio.to_thread(self._coco if name == "coco.json" else self._overlay, answer, video, name)

    def _overlay(self, answer: Answer, video: str, name: str) -> bytes:
        limits = self.settings.taken.media
        with (
            tempfile.TemporaryDirectory(prefix="vglamm-export-") as folder,
            local_copy(join(self.settings.spool, path_of(video)), limits) as path,
            closing(open_guarded(path, limits)) as source,
        ):
            return answer.save_overlay(Path(folder, name), source).read_bytes()

    def _coco(self, answer: Answer, video: str, name: str) -> bytes:
        from pyarrow import parquet

        row = Annotation(video, 0, video, answer.source, answer.question, OK, "", answer=answer)
        with tempfile.TemporaryDirectory(prefix="vglamm-export-") as folder:
            run, made = Path(folder, "part-00000.parquet"), Path(folder, name)
            parquet.write_table(annotation.table([row]), run)
            write_coco_vid(run, made, ExportSettings())
            return made.read_bytes()
