"""WebDataset shards: tar files whose members with the same key are one sample.

    shard-000000.tar    <row>.json   the row with its whole answer
                        <row>.mp4    the source video as it is, with ``--with-videos``

Members have no times or owners, so equal runs give equal bytes.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import IO

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError
from vglamm.export.place import safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.export.sources import Sources

LARGEST = 1 << 30
"""Bytes after which a shard is closed, as WebDataset advises for reading in sequence."""


def write_shards(run: Run, folder: Path, settings: Settings) -> None:
    """Write shards of at most ``settings.shard_rows`` rows, or of little more than :data:`LARGEST` bytes. Raises VideoNotFound for
    a video to put in that is gone, ConfigError for one that is a folder of frames."""
    sources = Sources(settings.videos) if settings.with_videos else None
    rows = answered(run)
    for shard, first in enumerate(rows):
        with tarfile.open(folder / f"shard-{shard:06d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            size = 0
            for count, (row, answer) in enumerate(itertools.chain([first], rows), 1):
                size += _add_row(tar, row, answer, sources)
                if count >= settings.shard_rows or size >= LARGEST:
                    break


def key_of(row: Annotation) -> str:
    """The key of a row: its id as a safe name, without dots, since a key ends at the first one."""
    return safe_name(row.id).replace(".", "%2E")


def _sample(row: Annotation, answer: Answer) -> dict[str, object]:
    own = {name: getattr(row, name) for name in ("id", "position", "video", "uri", "sha256", "question", "config")}
    return {**own, "extra": dict(row.extra), "answer": json.loads(answer.to_json())}


def _add_row(tar: tarfile.TarFile, row: Annotation, answer: Answer, sources: Sources | None) -> int:
    """Write the members of a row; gives their bytes."""
    key = key_of(row)
    text = json.dumps(_sample(row, answer), ensure_ascii=False, default=str).encode()
    size = _add(tar, f"{key}.json", io.BytesIO(text), len(text))
    if sources is not None:
        video = sources.find(row)
        if video.is_dir() or video.suffix.lower() in ("", ".json"):
            raise ConfigError(f"{video} as the video of {row.id}", "one video file with a suffix", "leave out --with-videos")
        with video.open("rb") as file:
            size += _add(tar, key + video.suffix.lower(), file, video.stat().st_size)
    return size


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> int:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, file)
    tar.getmembers().clear()  # it keeps what it wrote, which nobody asks for
    return size
