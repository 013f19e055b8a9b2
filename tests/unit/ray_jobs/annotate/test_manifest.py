"""A manifest lists everything, in one order, and says no where a run could not be told apart later."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.parcel import frozen, thawed
from tests.unit.media.clips import encode
from vglamm.errors import ConfigError
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.mp4", "deep/c.webm", "notes.txt", ".hidden.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def test_a_folder_is_listed_by_name_and_other_files_are_told_apart(folder: Path) -> None:
    jobs = read_manifest(str(folder), ["who?", "what?"]).jobs
    assert [job.id for job in jobs] == ["a.mp4", "b.mp4", "deep/c.webm", "notes.txt"]
    assert [job.first for job in jobs] == [0, 2, 4, 6]
    assert jobs[0].row_ids == ("a.mp4", "a.mp4#2")
    assert [job.skipped is None for job in jobs] == [True, True, True, False]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mxf", "mpeg2video"),
        ("a.y4m", "wrapped_avframe"),
        ("a.MTS", "libx264"),
        ("a.vob", "mpeg2video"),
        ("a.asf", "mpeg4"),
        ("a.3g2", "libx264"),
        ("a.nut", "ffv1"),
    ],
)
def test_what_the_reader_opens_is_listed(tmp_path: Path, name: str, codec: str) -> None:
    encode(tmp_path / name, codec, range(5))
    [job] = read_manifest(str(tmp_path), ["who?"]).jobs
    assert job.skipped is None
    with closing(open_guarded(job.uri, Limits())) as source:
        assert len(source) == 5


def test_what_is_hidden_is_no_source(folder: Path) -> None:
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / ".git" / "objects" / "0a1b").touch()
    assert len(read_manifest(str(folder), ["?"]).jobs) == 4
    hidden = folder / ".git" / "objects"
    assert [job.id for job in read_manifest(str(hidden), ["?"]).jobs] == ["0a1b"], "asked for by its name"


@pytest.mark.parametrize("pattern", ["", "/**"])
def test_results_are_no_source(folder: Path, pattern: str) -> None:
    out, beside = folder / "deep" / "out", folder / "deep"
    before = read_manifest(f"{folder}{pattern}", ["?"], str(out))
    for path in (out / "part-00000.parquet", out / "rows" / "00000001.parquet", beside / "mlflow" / "a.png", beside / "mlflow.db"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (beside / "outside.mp4").touch()
    after = read_manifest(f"{folder}{pattern}", ["?"], str(out))
    assert {job.uri for job in after.jobs} - {job.uri for job in before.jobs} == {str(beside / "outside.mp4")}


def test_a_date_is_an_id_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "t.JSONL").write_text('{"uri": "2024-05-01", "id": "2024-05-01", "day": "2024-05-02"}\n')
    [job] = read_manifest(str(tmp_path / "t.JSONL"), ["?"]).jobs
    assert (job.id, job.uri) == ("2024-05-01", str(tmp_path / "2024-05-01"))


def test_the_ending_of_a_table_may_be_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "T.CSV").write_text("uri,id\na.mp4,007\n")
    assert [job.id for job in read_manifest(str(tmp_path / "T.CSV"), ["?"]).jobs] == ["007"]


def test_a_glob_takes_what_fits(folder: Path) -> None:
    assert [Path(job.uri).name for job in read_manifest(f"{folder}/*.mp4", ["?"]).jobs] == ["a.mp4", "b.mp4"]


def test_a_name_that_looks_like_a_glob_is_that_name(tmp_path: Path) -> None:
    folder = tmp_path / "clips [raw]"
    folder.mkdir()
    (folder / "a [1].mp4").touch()
    for source in (folder, folder / "a [1].mp4"):
        assert [job.uri for job in read_manifest(str(source), ["?"]).jobs] == [str(folder / "a [1].mp4")]


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).touch()
    with pytest.raises(ConfigError, match=r"not UTF-8 \(b'.*caf\\xe9.mp4'\)"):
        read_manifest(str(tmp_path), ["?"])


def test_a_limit_may_be_written_as_tables_with_gaps_do(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"uri": ["a.mp4", "b.mp4"], "limit": [5.0, None]}), tmp_path / "t.parquet")
    one, two = read_manifest(str(tmp_path / "t.parquet"), ["?"]).jobs
    assert (one.sampling, two.sampling) == ({"limit": 5}, {})
    assert isinstance(one.sampling["limit"], int)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_tables_name_videos_questions_sampling_and_what_passes_through(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"uri": "a.mp4", "id": "one", "question": "who?", "fps": 2.0, "licence": "CC0"},
        {"uri": "/there/b.mp4", "id": "two", "question": None, "fps": None, "licence": "CC-BY"},
    ]
    path = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("uri,id,question,fps,licence\na.mp4,one,who?,2.0,CC0\n/there/b.mp4,two,,,CC-BY\n")
    manifest = read_manifest(str(path), ["else?"])
    one, two = manifest.jobs
    assert (one.uri, one.questions, dict(one.sampling)) == (str(tmp_path / "a.mp4"), ("who?",), {"fps": 2.0})
    assert (two.uri, two.questions, dict(two.sampling)) == ("/there/b.mp4", ("else?",), {})
    assert [job.extra["licence"] for job in manifest.jobs] == ["CC0", "CC-BY"]


def test_several_questions_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"uri": "a.mp4", "questions": ["who?", "what?"]}\n')
    assert read_manifest(str(tmp_path / "t.jsonl"), []).jobs[0].questions == ("who?", "what?")


def test_a_csv_keeps_ids_and_addresses_as_they_are_written(tmp_path: Path) -> None:
    lines = [f"{n:06d},{n:04d}.mp4,{n % 7}" for n in range(90_000)]  # more than a megabyte, in which numbers alone were seen
    (tmp_path / "t.csv").write_text("\n".join(["id,uri,note", *lines, "last,z.mp4,none", ",alone.mp4,"]) + "\n")
    jobs = read_manifest(str(tmp_path / "t.csv"), ["?"]).jobs
    assert [job.id for job in (jobs[7], *jobs[-2:])] == ["000007", "last", "alone.mp4"]
    assert jobs[7].uri == str(tmp_path / "0007.mp4")
    assert [job.extra["note"] for job in (jobs[7], jobs[-2])] == ["0", "none"]


def test_numbers_and_truth_may_be_written_as_tables_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "uri,every_frame,fps,start,end,limit\na.mp4,no,,1.5,3,\nb.mp4,yes,,,,7\nc.mp4,0,2,0,,\nd.mp4,,,,,\n"
    )
    sampled = [job.sampling for job in read_manifest(str(tmp_path / "t.csv"), ["who?"]).jobs]
    assert sampled == [
        {"every_frame": False, "start": 1.5, "end": 3.0},
        {"every_frame": True, "limit": 7},
        {"every_frame": False, "fps": 2.0, "start": 0.0},
        {},
    ]


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [
        ("start,end", "00:01:30,00:02:00", "row 0 with start"),
        ("fps", "auto", "row 0 with fps 'auto'; expected frames a second as a number"),
        ("end", "0:01", "row 0 with end '0:01'; expected seconds as a number"),
        ("limit", "three", "row 0 with limit 'three'; expected a whole number"),
        ("every_frame", "often", "row 0 with every_frame 'often'; expected true or false"),
        ("fps", "inf", "row 0 with fps inf"),
        ("fps", "true", "row 0 with fps True"),
    ],
)
def test_a_cell_of_another_type_is_told_before_anything_begins(tmp_path: Path, head: str, row: str, told: str) -> None:
    (tmp_path / "t.csv").write_text(f"uri,{head}\na.mp4,{row}\n")
    with pytest.raises(ConfigError) as caught:
        read_manifest(str(tmp_path / "t.csv"), ["who?"])
    assert told in str(caught.value)


def test_a_list_of_questions_is_one_in_either_column(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"uri": "a.mp4", "question": ["one?", "two?"]}))
    assert read_manifest(str(tmp_path / "t.jsonl"), []).jobs[0].questions == ("one?", "two?")


def test_a_column_that_no_table_of_results_can_hold_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"uri": "a.mp4", "meta": {}}))
    with pytest.raises(ConfigError, match="a column meta of type struct<>"):
        read_manifest(str(tmp_path / "t.jsonl"), ["who?"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"uri": "a.mp4", "questions": ["who?", None]}, "row 0 with None as a question"),
        ({"uri": "a.mp4", "question": "  "}, "row 0 with '  ' as a question"),
        ({"uri": "a.mp4", "questions": '["who?", '}, "a JSON list of texts"),
        ({"uri": "a.mp4"}, "without a question"),
        ({"uri": "", "question": "?"}, "with uri ''"),
        ({"uri": "a.mp4", "question": "?", "text": "mine"}, "columns text"),
        ({"uri": "a.mp4", "question": "?", "limit": 5.5}, "row 0 with limit 5.5"),
        ({"file": "a.mp4"}, "a column uri"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, row: dict[str, object], told: str) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=told):
        read_manifest(str(tmp_path / "t.jsonl"), [])


def test_doubled_ids_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"uri": "a.mp4", "id": "x"}\n{"uri": "b.mp4", "id": "x"}\n')
    with pytest.raises(ConfigError, match="in rows 0 and 1"):
        read_manifest(str(tmp_path / "t.jsonl"), ["?"])


def test_an_id_that_a_second_question_would_take_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"uri": "a.mp4", "id": "x"}\n{"uri": "b.mp4", "id": "x#2"}\n')
    assert [job.row_ids for job in read_manifest(str(table), ["?"]).jobs] == [("x",), ("x#2",)]
    with pytest.raises(ConfigError, match="'x#2' in rows 0 and 1"):
        read_manifest(str(table), ["who?", "what?"])


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "no", tmp_path / "*.mp4", tmp_path):
        with pytest.raises(ConfigError, match="nothing at"):
            read_manifest(str(source), ["?"])


def test_shares_cut_between_parts_and_cover_everything(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("".join(f'{{"uri": "{n}.mp4"}}\n' for n in range(23)))
    manifest = read_manifest(str(tmp_path / "t.jsonl"), ["?"])
    shares = [manifest.shard(i, 3, 4).jobs for i in (1, 2, 3)]
    assert sorted(job.position for share in shares for job in share) == list(range(23))
    assert [{job.position // 4 for job in share} for share in shares] == [{0, 3}, {1, 4}, {2, 5}]


def test_the_digest_follows_the_work(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text('{"uri": "a.mp4"}\n{"uri": "b.mp4"}\n')
    whole = read_manifest(str(table), ["?"])
    assert whole.digest == read_manifest(str(table), ["?"]).digest
    assert len({whole.digest, whole.limit(1).digest, read_manifest(str(table), ["!"]).digest}) == 3


def test_passed_columns_keep_their_types() -> None:
    import datetime

    fields = [pa.field("day", pa.date32()), pa.field("frames", pa.list_(pa.string())), pa.field("n", pa.int32())]
    values = {"day": datetime.date(2026, 1, 2), "frames": ["00001"], "n": None}
    assert thawed(frozen(values, fields)) == values
