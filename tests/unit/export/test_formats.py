"""What holds for every format: rows are counted, nothing half-written is left, memory does not grow with the rows."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.unit.export.runs import SUBMITTED, an_answer, asked, failed, moving, ok, write_run
from vglamm.annotation import Annotation
from vglamm.errors import ConfigError, VglammError
from vglamm.export.formats import FORMATS, export
from vglamm.export.place import MARK
from vglamm.export.settings import LeftOut, Settings


def target(tmp_path: Path, form: str, name: str = "out") -> Path:
    return tmp_path / f"{name}{FORMATS[form].suffix or ''}"


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_without_an_answer_is_an_error(tmp_path: Path, form: str) -> None:
    run = write_run(tmp_path / "run", [failed(), failed("b", "skipped", "VideoTooLarge")])
    with pytest.raises(ConfigError, match=r"0 ok, 1 failed, 1 skipped \(VideoTooLarge 1, VideoUnreadable 1\)"):
        export(run, form, target(tmp_path, form))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("form", ["ytvis", "coco-vid", "palette", "webdataset", "cvat"])
def test_rows_are_counted_and_an_earlier_export_is_kept(tmp_path: Path, form: str) -> None:
    run, out = write_run(tmp_path / "run", [ok("a"), failed(), ok("b")]), target(tmp_path, form)
    rows = export(run, form, out)
    assert (rows.ok, rows.failed, rows.skipped, rows.reasons) == (2, 1, 0, {"VideoUnreadable": 1})
    if out.is_dir():
        assert json.loads((out / MARK).read_text())["rows"]["failed"] == 1
    with pytest.raises(ConfigError, match="--overwrite"):
        export(run, form, out)
    assert export(run, form, out, overwrite=True) == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "run"])


@pytest.mark.parametrize("form", ["palette", "cvat", "fiftyone", "mp4"])
def test_two_rows_of_one_name_are_refused(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    row = ok("a", uri=str(tmp_path / "a.mp4"))
    with pytest.raises(VglammError):
        export(write_run(tmp_path / "run", [row, row]), form, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "run"]


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [ok(), failed()])
    for form, name, settings, message in (
        ("nonsense", "out", Settings(), "one of ytvis"),
        ("ytvis", "out.zip", Settings(), "ending in .json"),
        ("mevis", "out", Settings(), "ending in .zip"),
        ("ytvis", "out.json", Settings(videos=tmp_path), "--videos with ytvis"),
        ("palette", "out", Settings(expressions=tmp_path), "--expressions with palette"),
        ("mp4", "out", Settings(with_videos=True), "--with-videos with mp4"),
        ("cvat", "out", Settings(shard_rows=2), "--shard-rows with cvat"),
        ("webdataset", "out", Settings(shard_rows=0), "0 rows"),
        ("ytvis", "out.json", Settings(left_out=LeftOut.empty), "empty with ytvis"),
        ("ytvis", "out.json", Settings(left_out=LeftOut.error), "1 ok, 1 failed"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(run, form, tmp_path / name, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no part-"):
        export(tmp_path, "ytvis", tmp_path / "out.json")
    (tmp_path / "part-00000.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(ConfigError, match="a damaged file"):
        export(tmp_path, "ytvis", tmp_path / "out.json")
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "part-00000.parquet")
    with pytest.raises(ConfigError, match="without position"):
        export(tmp_path, "ytvis", tmp_path / "out.json")


@pytest.mark.parametrize("form", ["ytvis", "coco-vid", "palette", "mevis", "webdataset", "cvat"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, form: str) -> None:
    def rows(count: int) -> list[Annotation]:
        return [asked(ok(f"v{number}", an_answer(moving(2, 2), (0, 1), 2)), "0", 2) for number in range(count)]

    peaks = []
    for count in (10, 10, 90):  # the first one pays for imports and tables
        run = write_run(tmp_path / f"run{count}-{len(peaks)}", rows(count), SUBMITTED)
        tracemalloc.start()
        export(run, form, target(tmp_path, form, f"out{len(peaks)}"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A row and its answer are about 5 kB, so keeping them would cost 400 kB. Python itself keeps some freed tuples and dicts, up to
    # a limit, and a zip its table of contents until it is closed.
    assert peaks[2] - peaks[1] < 250_000, peaks
