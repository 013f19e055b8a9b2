"""Videos are found where they are now, and only the very file that was annotated is shown."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.unit.view.runs import answered, filmed
from vglamm.annotation import Annotation
from vglamm.errors import VideoFrameError, VideoNotFound
from vglamm.places import sha256
from vglamm.view.clips import Shelf, black, cut, find


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    return filmed(tmp_path_factory.mktemp("film"), [41], size=64)[0]


def frames(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_file_is_found_by_its_path_or_uri(tmp_path: Path) -> None:
    (tmp_path / "a b#1.mp4").touch()
    path = tmp_path / "a b#1.mp4"
    assert find(str(path), None) == path
    assert find(path.as_uri(), None) == path


@pytest.mark.parametrize(
    "uri", ["/data/set/day/a.mp4", "s3://bucket/set/day/a.mp4", "file:///x/day/a.mp4", "../../day/a.mp4", "C:\\set\\day\\a.mp4"]
)
def test_the_longest_end_of_the_path_is_looked_for_first(tmp_path: Path, uri: str) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "a.mp4").touch()
    assert find(uri, tmp_path) == tmp_path / "a.mp4"
    (tmp_path / "day" / "a.mp4").touch()
    assert find(uri, tmp_path) == tmp_path / "day" / "a.mp4"


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.mp4").touch()
    with pytest.raises(VideoNotFound):
        find("s3://x/../a.mp4", tmp_path / "in")


@pytest.mark.parametrize("uri", ["https://example.org/a.mp4", "s3://bucket/a.mp4"])
def test_nothing_is_fetched(uri: str) -> None:
    with pytest.raises(VideoNotFound, match="not on this machine"):
        find(uri, None)


@pytest.mark.parametrize("uri", ["gone.mp4", "", "a\0b", "x" * 5000, "/"])
def test_a_file_that_is_not_there(uri: str, tmp_path: Path) -> None:
    with pytest.raises(VideoNotFound, match="--videos"):
        find(uri, tmp_path)


@pytest.mark.parametrize("uri", ["/sets/day/v1", "s3://bucket/day/v1", "file:///sets/day/v1", "links/v1"])
def test_a_folder_of_frames_is_found_in_the_folder_of_videos(tmp_path: Path, uri: str) -> None:
    (tmp_path / "v1").mkdir()
    assert find(uri, tmp_path) == tmp_path / "v1"


def test_frames_of_a_folder_are_shown_if_they_are_those_of_the_row(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    answer = answered(0).answer
    assert answer is not None
    for index in range(answer.sampling.source_frames):
        Image.new("RGB", answer.sampling.size[::-1], (200, 0, 0)).save(folder / f"{index:05d}.png")
    row = answered(0, uri=str(folder), sha256=sha256(folder))
    assert find(row.uri, None) == folder
    shown = frames(cut(row, answer, None)[1], tmp_path / "shown.mp4")
    assert shown[..., 0].min() > 150
    (folder / "00000.png").unlink()
    with pytest.raises(VideoFrameError, match="changed since"):
        cut(row, answer, None)


@pytest.mark.parametrize("uri", [".", "..", "/", "s3://", "/.."])
def test_no_row_is_about_the_folder_of_videos_itself(tmp_path: Path, uri: str) -> None:
    with pytest.raises(VideoNotFound):
        find(uri, tmp_path)


def test_a_pipe_is_no_video(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoNotFound):
        find(str(tmp_path / "a.mp4"), tmp_path)


def test_the_cut_is_the_grounding_frames(film: Annotation, tmp_path: Path) -> None:
    answer = film.answer
    assert answer is not None
    fewer = replace(
        answer, tracks=(), phrases=(), sampling=replace(answer.sampling, grounding_indices=(2, 9), grounding_times=(0.25, 1.125))
    )
    kind, content = cut(film, fewer, None)
    assert kind == "video/mp4"
    assert len(frames(content, tmp_path / "a.mp4")) == 2


def test_a_file_that_changed_is_not_shown(film: Annotation, tmp_path: Path) -> None:
    assert film.answer is not None
    name = Path(film.uri).name
    shutil.copy(film.uri, tmp_path / name)
    assert cut(film, film.answer, tmp_path)[0] == "video/mp4"
    with (tmp_path / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(VideoFrameError, match="changed since"):
        cut(film, film.answer, tmp_path)


def test_black_has_as_many_frames(tmp_path: Path) -> None:
    answer = answered(0).answer
    assert answer is not None
    shown = frames(black(answer)[1], tmp_path / "black.mp4")
    assert len(shown) == len(answer.sampling.grounding_indices)
    assert shown.max() < 8
    image = replace(
        answer,
        tracks=(),
        phrases=(),
        sampling=replace(answer.sampling, source_frames=1, source_fps=0.0, grounding_indices=(0,), grounding_times=(0.0,)),
    )
    assert black(image)[0] == "image/jpeg"


def test_a_shelf_is_bounded_and_makes_once() -> None:
    shelf, made = Shelf(10), list[str]()

    def make(name: str, size: int) -> tuple[str, bytes] | None:
        return shelf.get(name, lambda: (made.append(name) or name, b"x" * size))

    for name in ("a", "b", "a"):
        assert make(name, 4) == (name, b"xxxx")
    assert made == ["a", "b"]
    make("c", 4)  # b was used longest ago
    make("a", 4)
    make("b", 4)
    assert made == ["a", "b", "c", "b"]
    make("large", 11)
    make("large", 11)  # never kept, and nothing is driven out for it
    make("b", 4)
    assert made == ["a", "b", "c", "b", "large", "large"]
    assert shelf.get("unwanted", lambda: ("", b""), lambda: False) is None
    assert shelf.get("b", lambda: ("", b""), lambda: False) == ("b", b"xxxx")
