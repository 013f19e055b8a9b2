"""Addresses: names with any characters lead back to their files, on pyarrow's systems and on fsspec's; files appear whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from vglamm.errors import ConfigError, EnvironmentProblem, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media.limits import Limits
from vglamm.places import Place, join, local_copy, sha256

S3 = "s3://bucket/videos?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
"""Nobody listens there: an address is understood without asking its server."""
NAMES = ["plain.mp4", "a b.mp4", "é.mp4", "50%.mp4", "a%20b.mp4", "why?.mp4", "take #2.mp4", "a+b&c=d.mp4", "[1].mp4"]


@pytest.fixture
def memory() -> Iterator[Place]:
    place = Place.of("memory://bucket/videos")
    yield place
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("name", NAMES)
def test_a_listed_name_leads_back_to_its_file_on_s3(name: str) -> None:
    place = Place.of(S3)
    found = Place.of(place.uri(f"bucket/videos/{name}"))
    assert (found.path, found.query) == (f"bucket/videos/{name}", place.query)


@pytest.mark.parametrize(("written", "path"), [("a b.mp4", "a b.mp4"), ("é#1.mp4", "é#1.mp4"), ("a%20b.mp4", "a b.mp4")])
def test_names_may_be_written_plainly_or_as_in_urls(written: str, path: str) -> None:
    assert Place.of(S3.replace("videos", written)).path == f"bucket/{path}"


@pytest.mark.parametrize("name", [name for name in NAMES if not {"?", "["} & set(name)])  # which mean something to fsspec
def test_what_fsspec_keeps_is_listed_and_read(memory: Place, name: str) -> None:
    memory.inside(name).write(b"film")
    [path] = memory.files()
    assert Place.of(memory.uri(path)).read() == b"film"
    with local_copy(memory.uri(path), Limits()) as copy:
        assert Path(copy).read_bytes() == b"film"
    assert not Path(copy).exists()
    memory.inside(name).delete()
    assert memory.files() == []


def test_a_glob_far_away(memory: Place) -> None:
    for name in ("a.mp4", "b.mp4", "c.txt", ".hidden.mp4"):
        memory.inside(name).write(b"x")
    assert [Path(path).name for path in Place.of("memory://bucket/videos/*.mp4").glob()] == ["a.mp4", "b.mp4"]


def test_a_glob_looks_into_no_hidden_folder_that_it_does_not_name(tmp_path: Path) -> None:
    for name in ("a.mp4", "deep/b.mp4", ".trash/c.mp4", "deep/.trash/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return [os.path.relpath(path, tmp_path) for path in Place.of(tmp_path / pattern).glob()]

    assert found("**/*.mp4") == ["a.mp4", "deep/b.mp4"]
    assert found(".trash/*.mp4") == [".trash/c.mp4"]
    assert found("**/.trash/*.mp4") == [".trash/c.mp4", "deep/.trash/d.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_an_address_of_this_machine_leads_to_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert Place.of(path.as_uri()).path == str(path)
    with local_copy(path.as_uri(), Limits()) as copy:
        assert copy == str(path)
    assert Place.of("file://localhost/data/my%20clip.mp4").path == "/data/my clip.mp4"


def test_what_is_not_there_or_too_large_is_told(memory: Place) -> None:
    with pytest.raises(VideoNotFound, match="no file at"), local_copy(memory.uri("/bucket/videos/no.mp4"), Limits()):
        pass
    memory.inside("large.mp4").write(bytes(11))
    with pytest.raises(VideoTooLarge, match="11 bytes"), local_copy("memory://bucket/videos/large.mp4", Limits(bytes=10)):
        pass
    with pytest.raises(ConfigError, match="that pyarrow or fsspec knows"):
        Place.of("gopher://host/videos")


def test_a_folder_of_frames_is_copied_whole(memory: Place, tmp_path: Path) -> None:
    for number in range(3):
        memory.inside(f"frames/{number}.png").write(bytes([number]))
    memory.inside("frames/deeper/other.png").write(b"not of this folder")
    with local_copy("memory://bucket/videos/frames", Limits()) as copy:
        assert {path.name: path.read_bytes() for path in Path(copy).iterdir()} == {f"{n}.png": bytes([n]) for n in range(3)}
        assert Path(copy).name == "frames"
    with pytest.raises(VideoTooLarge, match="3 bytes"), local_copy("memory://bucket/videos/frames", Limits(bytes=2)):
        pass


def test_names_of_a_table_are_relative_to_it() -> None:
    assert join("s3://bucket/tables?region=x", "a.mp4") == "s3://bucket/tables/a.mp4?region=x"
    assert join("/tables", "a.mp4") == "/tables/a.mp4"
    for whole in ("/there/a.mp4", "s3://other/a.mp4"):
        assert join("/tables", whole) == whole


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(tmp_path / "out" / "rows.parquet")
    place.write(b"before")

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("vglamm.places.os.replace", fails)
    with pytest.raises(OSError, match="no space"):
        place.write(b"after")
    assert Path(place.path).read_bytes() == b"before"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows.parquet"]


def test_bytes_that_cannot_be_read_are_the_files_fault(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    with pytest.raises(VideoUnreadable, match=r"No such file or directory for '.*gone\.mp4'"):
        sha256(tmp_path / "gone.mp4")


def test_a_copy_for_which_there_is_no_room_is_not_the_videos_fault(memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.inside("a.mp4").write(b"video")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vglamm.places.shutil.copyfileobj", full)
    with pytest.raises(EnvironmentProblem, match=r"no room in .*5 bytes"), local_copy("memory://bucket/videos/a.mp4", Limits()):
        pass
