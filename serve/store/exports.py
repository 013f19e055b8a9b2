"""An answered turn as a file to keep: its JSON, COCO, or an overlay video. The writers are those of ``vglamm export``."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.attend import ClientLeft
from serve.settings import Settings
from serve.store.spool import Spool
from serve.store.videos import path_of
from vglamm import annotation
from vglamm.annotation import OK, Annotation
from vglamm.answer import Answer
from vglamm.errors import NotKept
from vglamm.export.coco import write_coco_vid
from vglamm.export.settings import Settings as ExportSettings
from vglamm.media.guarded import GuardedSource
from vglamm.media.limits import Limits
from vglamm.media.read import Frames, VideoSource, open_video
from vglamm.places import join, local_copy

FILES = {"json": "answer.json", "coco": "coco.json", "mp4": "overlay.mp4"}
TYPES = {"answer.json": "application/json", "coco.json": "application/json", "overlay.mp4": "video/mp4", "overlay.png": "image/png"}


class Exports:
    """Makes one file at a time: drawing and encoding take a core. Its thread is its own: the threads of the event loop renew leases
    meanwhile."""

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self.spool, self.settings = spool, settings
        self._one = ThreadPoolExecutor(1, "export")

    async def make(self, answer: Answer, video: str, name: str) -> bytes:
        """One of :data:`TYPES`. NotKept for a video of an image; VideoError if the source cannot be read again. Cancelling
        it stops the work within one frame."""
        if name == "answer.json":
            return answer.to_json().encode()
        if answer.is_image == (name == "overlay.mp4") and name != "coco.json":
            kind = "image, shown by overlay.png" if answer.is_image else "video, shown by overlay.mp4"
            raise NotKept(f"{name} of an answer about a {kind}", "the one that fits", "ask for that")
        left = threading.Event()
        work = self._coco if name == "coco.json" else partial(self._overlay, left)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._one, work, answer, video, name)
        finally:
            left.set()

    def _overlay(self, left: threading.Event, answer: Answer, video: str, name: str) -> bytes:
        limits = self.settings.taken.media
        with (
            tempfile.TemporaryDirectory(prefix="vglamm-export-") as folder,
            local_copy(join(self.settings.spool, path_of(video)), limits) as path,
            closing(Awaited(open_video(path, limits), limits, left)) as source,
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


class Awaited(GuardedSource):
    """A video whose frames end with ClientLeft once nobody waits for what is made of them. left: set when that is so."""

    def __init__(self, inner: VideoSource, limits: Limits, left: threading.Event) -> None:
        super().__init__(inner, limits)
        self.left = left

    def stream(
        self, indices: Sequence[int] | NDArray[np.integer] | None = None, chunk: int = 1
    ) -> Iterator[tuple[NDArray[np.int64], Frames]]:
        for found in super().stream(indices, 1):  # whatever is asked: a chunk is drawn and encoded before the next look
            if self.left.is_set():
                raise ClientLeft
            yield found
