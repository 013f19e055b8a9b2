"""The video of a row, cut to its grounding frames; and a shelf with a bound for what took long to make."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import VideoFrameError, VideoNotFound
from vglamm.media.read import local_path
from vglamm.places import ends_below, sha256
from vglamm.show import player

Content = tuple[str, bytes]
"""A media type and what is of it."""


class Shelf:
    """Keeps ``room`` bytes of what was used last, and makes one thing at a time: a second asker of the same waits and gets it."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._kept = OrderedDict[Hashable, Content]()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Content], wanted: Callable[[], bool] = lambda: True) -> Content | None:
        """What is kept under ``key``, or what ``make`` gives; None if nobody wants it any more when its turn comes."""
        with self._lock:
            if key not in self._kept:
                if not wanted():
                    return None
                content = make()
                if len(content[1]) > self.room:
                    return content
                self._kept[key] = content
                while sum(len(body) for _, body in self._kept.values()) > self.room:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def find(uri: str, folder: Path | None) -> Path:
    """The local file of a row, or its folder of frames. folder: looked in first, for the whole path of the uri, then for shorter
    and shorter ends of it.

    Nothing is fetched: VideoNotFound for a uri of another machine, and for what is not there.
    """
    ends = list(ends_below(folder or Path(), uri))
    for candidate in ends if folder else ():
        if _is_there(candidate):
            return candidate
    remote, path = "://" in uri and not uri.startswith("file://"), local_path(uri)
    if not remote and ends and _is_there(path):
        return Path(path)
    got = f"{uri}, which is not on this machine" if remote else f"no file or folder of frames at {path}"
    where = f", and none of its name in {folder}" if folder else ""
    raise VideoNotFound(got + where, "the video that was annotated", "run `vglamm view` with --videos FOLDER")


def _is_there(path: str | Path) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)  # never a pipe or a device, which may be read without end


def cut(row: Annotation, answer: Answer, folder: Path | None) -> Content:
    """The grounding frames of the row's own video. VideoError if they cannot be had, or if the file has changed since."""
    path = find(row.uri, folder)
    if row.sha256 is not None and sha256(path) != row.sha256:
        raise VideoFrameError(f"{path}, which has changed since", "the file that was annotated", "restore it, or give --videos")
    return player.pack(answer, os.fspath(path))


def black(answer: Answer) -> Content:
    """Black frames in the place of a video that is gone, at the same times."""
    frame = np.zeros((1, *answer.sampling.size, 3), np.uint8)
    return player.pack(answer, np.broadcast_to(frame, (len(answer.sampling.grounding_indices), *frame.shape[1:])))
