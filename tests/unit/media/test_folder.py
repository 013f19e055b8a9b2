"""A folder of frame images is a video like any other."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from vglamm.errors import VideoFrameError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media.folder import DEFAULT_FPS, FolderSource, frame_names
from vglamm.media.limits import Limits
from vglamm.media.read import open_video


def _fill(folder: Path, names: list[str], size: tuple[int, int] = (8, 6)) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        number = int("".join(filter(str.isdigit, name)))
        Image.new("RGB", size, (10 * number, 0, 0)).save(folder / name)
    return folder


def test_frames_come_by_number_whatever_the_folder_says(tmp_path):
    folder = _fill(tmp_path / "v", ["f2.png", "f10.png", "f1.png"])
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".f0.png").write_bytes(b"hidden")
    assert frame_names(folder) == ("f1.png", "f2.png", "f10.png")
    video = open_video(folder, fps=5.0)
    assert (len(video), video.info.fps, video.info.seconds, video.info.container) == (3, 5.0, 0.6, "folder")
    np.testing.assert_allclose(video.times, [0, 0.2, 0.4])
    assert video.frames_at([2, 0, 2])[:, 0, 0, 0].tolist() == [100, 10, 100]
    assert [frames[:, 0, 0, 0].tolist() for _, frames in video.stream(chunk=2)] == [[10, 20], [100]]
    assert video.frames_at([0]).shape == (1, 6, 8, 3)


def test_without_a_rate_it_is_that_of_ffmpeg(tmp_path):
    assert open_video(_fill(tmp_path / "v", ["1.jpg"])).info.fps == DEFAULT_FPS == 25.0


def test_it_can_be_pickled_and_holds_nothing_open(tmp_path):
    folder = _fill(tmp_path / "v", ["1.png", "2.png"])
    video = pickle.loads(pickle.dumps(open_video(folder)))
    (folder / "2.png").unlink()
    assert video.frames_at([0])[0, 0, 0, 0] == 10
    with pytest.raises(VideoFrameError, match=r"2\.png"):
        video.frames_at([1])


def test_a_frame_of_another_size_or_damaged_is_never_another_frame(tmp_path):
    folder = _fill(tmp_path / "v", ["1.png", "2.png", "3.png"])
    _fill(folder, ["2.png"], (6, 8))
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:40])
    video = open_video(folder)
    with pytest.raises(VideoFrameError, match=r"2\.png.*6x8"):
        video.frames_at([1])
    with pytest.raises(VideoFrameError, match=r"frame 2.*3\.png"):
        video.frames_at([2])
    with pytest.raises(VideoFrameError, match="0 to 2"):
        video.frames_at([3])


@pytest.mark.parametrize("folder", [True, False])
def test_an_orientation_that_is_no_number_turns_nothing(tmp_path, folder):
    (tmp_path / "v").mkdir()
    entry = struct.pack("<HHHI4sI", 1, 0x0112, 2, 3, b"up", 0)  # ASCII in place of a short
    Image.new("RGB", (8, 6)).save(tmp_path / "v" / "1.jpg", exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry)
    video = open_video(tmp_path / "v" if folder else tmp_path / "v" / "1.jpg")
    assert (video.info.width, video.info.height) == (8, 6)
    assert video.frames_at([0]).shape == (1, 6, 8, 3)


def test_a_turned_frame_is_turned(tmp_path):
    (tmp_path / "v").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "v" / "1.jpg", exif=exif)
    video = open_video(tmp_path / "v")
    assert (video.info.width, video.info.height) == (6, 8)
    assert video.frames_at([0]).shape == (1, 8, 6, 3)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(frames=2), "frames"),
        (Limits(pixels=47), "pixels"),
        (Limits(aspect=1.3), "aspect"),
        (Limits(seconds=0.1), "seconds"),
        (Limits(fps=20), "fps"),
        (Limits(bytes=10), "bytes"),
    ],
)
def test_limits_hold(tmp_path, limits, told):
    folder = _fill(tmp_path / "v", ["1.png", "2.png", "3.png"])
    with pytest.raises(VideoTooLarge, match=told):
        open_video(folder, limits)


def test_the_header_is_read_and_no_picture(tmp_path, monkeypatch):
    folder = _fill(tmp_path / "v", ["1.png", "2.png"])
    _fill(tmp_path / "large", ["1.png"], (80, 60))

    def load(*_: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert open_video(folder).info.width == 8
    with pytest.raises(VideoTooLarge, match="pixels"):
        open_video(tmp_path / "large", Limits(pixels=100))


@pytest.mark.parametrize("early", [True, False])
def test_a_turned_png_is_turned_or_said_to_be_another_size_than_its_header_says(tmp_path, early):
    (tmp_path / "v").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "v" / "1.png"
    Image.new("RGB", (8, 6)).save(file, exif=exif)
    if not early:
        head, chunk, rest = re.fullmatch(rb"(.*)(....eXIf.*)(....IDAT.*)", file.read_bytes(), re.DOTALL).groups()
        file.write_bytes(head + rest[:-12] + chunk + rest[-12:])
    video = open_video(tmp_path / "v")
    if early:
        assert (video.info.width, video.info.height) == (6, 8)
        assert video.frames_at([0]).shape == (1, 8, 6, 3)
    else:  # what is written after the picture is known only when it has been decoded
        with pytest.raises(VideoFrameError, match=r"1\.png.* of 6x8 pixels; expected 8x6, as the header"):
            video.frames_at([0])


@pytest.mark.parametrize("warn", [True, False])
def test_what_pillow_refuses_is_too_large(tmp_path, monkeypatch, warn):
    folder = _fill(tmp_path / "v", ["1.png", "2.png"])
    image = _fill(tmp_path / "w", ["1.png"]) / "1.png"
    opened = open_video(folder), open_video(image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 if warn else 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(VideoTooLarge, match=r"1\.png.*exceeds limit"):
            open_video(folder)
        for video in opened:
            with pytest.raises(VideoTooLarge, match=r"png.*exceeds limit"):
                video.frames_at([0])


def test_a_folder_that_may_not_be_listed_is_said(tmp_path, monkeypatch):
    def listdir(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vglamm.media.folder.os.listdir", listdir)
    with pytest.raises(VideoUnreadable, match="Permission denied"):
        frame_names(tmp_path)


def test_a_large_frame_behind_a_small_one_is_stopped_by_its_header(tmp_path):
    folder = _fill(tmp_path / "v", ["1.png"])
    _fill(folder, ["2.png"], (80, 60))
    with pytest.raises(VideoTooLarge):
        open_video(folder, Limits(pixels=100)).frames_at([1])


def test_what_is_no_folder_of_frames_is_said(tmp_path):
    with pytest.raises(VideoNotFound):
        frame_names(tmp_path / "gone")
    with pytest.raises(VideoUnreadable, match="without a frame"):
        open_video(tmp_path)
    folder = _fill(tmp_path / "v", ["1.png"])
    with pytest.raises(VideoUnreadable, match="rate above 0"):
        open_video(folder, fps=0)
    (folder / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(VideoUnreadable, match=r"a\.gif"):
        FolderSource(folder, ["a.gif"])
    (folder / "0.png").write_bytes(b"not an image")
    with pytest.raises(VideoUnreadable, match=r"0\.png"):
        open_video(folder)
