"""WebDataset shards, read by the webdataset package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from webdataset import filters, tariterators

from tests.unit.export.runs import failed, ok, write_run
from vglamm.answer import Answer
from vglamm.errors import ConfigError
from vglamm.export.formats import export
from vglamm.export.settings import Settings

IDS = ["a.b", "a.b#2", "c/d", "x" * 150]


def read(shard: Path) -> list[dict[str, Any]]:
    """The samples of a shard. The stages of ``webdataset.WebDataset``, but for the one that opens files, which closes none."""
    with shard.open("rb") as stream:
        members = tariterators.tar_file_expander([{"url": str(shard), "stream": stream}])
        return list(filters.decode()(tariterators.group_by_keys(members)))


def test_webdataset_reads_the_rows_of_every_shard(tmp_path: Path) -> None:
    rows = [ok(identity) for identity in IDS]
    export(write_run(tmp_path / "run", [*rows, failed()]), "webdataset", tmp_path / "out", Settings(shard_rows=3))
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert [shard.name for shard in shards] == ["shard-000000.tar", "shard-000001.tar"]
    assert [len(read(shard)) for shard in shards] == [3, 1]
    samples = [sample for shard in shards for sample in read(shard)]
    assert [sample["__key__"] for sample in samples] == ["a%2Eb", "a%2Eb%232", "c%2Fd", "x" * 150]
    for sample, row in zip(samples, rows, strict=True):
        told = sample["json"]
        assert told["id"] == row.id
        assert Answer.from_json(json.dumps(told["answer"])) == row.answer


def test_videos_are_put_in(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.MP4").write_bytes(b"film")
    run = write_run(tmp_path / "run", [ok("a", uri="a.MP4")])
    export(run, "webdataset", tmp_path / "out", Settings(videos=tmp_path / "videos", with_videos=True))
    [sample] = read(tmp_path / "out" / "shard-000000.tar")
    assert sample["mp4"] == b"film"
    (tmp_path / "videos" / "a.MP4").unlink()
    (tmp_path / "videos" / "a.MP4").mkdir()
    with pytest.raises(ConfigError, match="as the video of a"):
        export(run, "webdataset", tmp_path / "other", Settings(videos=tmp_path / "videos", with_videos=True))


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [ok(identity) for identity in IDS])
    for name in ("one", "other"):
        export(run, "webdataset", tmp_path / name)
    assert (tmp_path / "one" / "shard-000000.tar").read_bytes() == (tmp_path / "other" / "shard-000000.tar").read_bytes()
