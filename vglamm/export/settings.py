"""What an export can be told, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class LeftOut(StrEnum):
    """What becomes of rows that failed or were skipped: they are counted and reported, they are an error, or (of submissions,
    which must be complete) they get empty masks."""

    report = "report"
    error = "error"
    empty = "empty"


@dataclass(frozen=True)
class Settings:
    """videos: a folder to find source videos in, None for where they were read. with_videos: put their files into the export.
    expressions: the ``meta_expressions.json`` of a benchmark, which tells what a submission must hold. shard_rows: rows of a shard
    at most. left_out: what becomes of rows without an answer."""

    videos: Path | None = None
    with_videos: bool = False
    expressions: Path | None = None
    shard_rows: int = 1000
    left_out: LeftOut = LeftOut.report
