"""Rows hold whole answers: Python -> Parquet -> Python changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError
from vglamm.media import rle
from vglamm.records import Phrase, Sampling, Track


def an_answer() -> Answer:
    mask = np.zeros((6, 8), np.bool_)
    mask[1:3, 2:5] = True
    [code] = rle.encode(mask[None])
    return Answer(
        question="Where is the cat?",
        text="It is the cat.",
        raw="It is <p> the cat </p> [SEG].",
        phrases=(Phrase("the cat", 6, 13, 0),),
        tracks=(Track((code, None), ((2.0, 1.0, 5.0, 3.0), None), (0.9, 0.1), 0.9, 0, 0),),
        moments=((0.0, 0.5),),
        sampling=Sampling((0,), (0.0,), (0, 3), (0.0, 0.5), 4, 6.0, (6, 8)),
        source="videos/a.mp4",
        model="m",
        warnings=("odd",),
        timings={"pixel": 0.25},
    )


def an_annotation(**changes: object) -> Annotation:
    answered = Annotation("a", 0, "a", "videos/a.mp4", "Where is the cat?", "ok", "c", sha256="00", answer=an_answer())
    return replace(answered, **changes)  # type: ignore[arg-type]


def test_a_row_comes_back_from_parquet_as_it_was(tmp_path: Path) -> None:
    rows = [
        an_annotation(extra={"licence": "CC0"}),
        an_annotation(
            id="b", position=1, status="failed", answer=None, sha256=None, error_type="VideoUnreadable", error="got no stream",
            extra={"licence": None},
        ),
    ]  # fmt: skip
    parquet.write_table(annotation.table(rows, [pa.field("licence", pa.string())]), tmp_path / "part-00000.parquet")
    assert list(annotation.read(tmp_path)) == rows


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        rows = [an_annotation(id=f"v{number}", position=number)]
        parquet.write_table(annotation.table(rows), tmp_path / f"part-{number:05d}.parquet")
    assert [row.id for row in annotation.read(tmp_path)] == ["v0", "v1", "v2"]
    assert [row.id for row in annotation.read(tmp_path / "part-00001.parquet")] == ["v1"]


@pytest.mark.parametrize("changes", [{"status": "done"}, {"answer": None}, {"status": "failed"}, {"error_type": "E"}])
def test_a_row_says_exactly_one_thing(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        an_annotation(**changes)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no part-"):
        list(annotation.read(tmp_path))
