"""One interface over files, images and arrays; damage is said."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.media.clips import HEIGHT, WIDTH, ClipFolder, number_of, numbered
from vglamm.errors import VideoFrameError, VideoTooLarge, VideoUnreadable
from vglamm.media.limits import Limits
from vglamm.media.read import VideoSource, open_video

ARRAY = np.stack([numbered(i) for i in range(20)])


def numbers(video: VideoSource) -> list[int]:
    return [number_of(frame) for _, frames in video.stream() for frame in frames]


@pytest.fixture(params=["file", "array"])
def video(request: pytest.FixtureRequest, clips: ClipFolder) -> VideoSource:
    return open_video(clips["h264.mp4"]) if request.param == "file" else open_video(ARRAY, fps=25)


def test_frames_come_in_the_order_asked_and_as_often(video: VideoSource) -> None:
    wanted = [7, 0, 7, 19, 3]
    frames = video.frames_at(wanted)
    assert frames.shape == (5, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    assert [number_of(frame) for frame in frames] == wanted
    assert video.frames_at([]).shape == (0, HEIGHT, WIDTH, 3)
    assert [number_of(frame) for frame in video.frames_at(np.array([2, 1]))] == [2, 1]


def test_stream_gives_chunks_of_chosen_frames(video: VideoSource) -> None:
    parts = list(video.stream([1, 2, 5, 11, 19], chunk=2))
    assert [indices.tolist() for indices, _ in parts] == [[1, 2], [5, 11], [19]]
    assert [number_of(frame) for _, frames in parts for frame in frames] == [1, 2, 5, 11, 19]
    assert all(indices.dtype == np.int64 for indices, _ in parts)
    assert numbers(video) == list(range(len(video)))


def test_frames_that_do_not_exist(video: VideoSource) -> None:
    for wrong in (-1, len(video)):
        with pytest.raises(VideoFrameError, match=f"frame {wrong} asked"):
            video.frames_at([0, wrong])
        with pytest.raises(VideoFrameError, match=f"frame {wrong} asked"):
            video.stream([wrong])
    for wrong_order in ([3, 3], [4, 2]):
        with pytest.raises(VideoFrameError, match="increasing"):
            video.stream(wrong_order)
    with pytest.raises(VideoFrameError, match="chunks"):
        video.stream(chunk=0)


def test_a_source_can_be_sent_to_another_process(video: VideoSource) -> None:
    again = pickle.loads(pickle.dumps(video))
    assert number_of(again.frames_at([9])[0]) == 9
    np.testing.assert_array_equal(again.times, video.times)


def test_times(clips: ClipFolder) -> None:
    np.testing.assert_allclose(open_video(clips["h264.mp4"]).times, np.arange(60) / 25, atol=1e-9)
    np.testing.assert_allclose(open_video(ARRAY, fps=8).times, np.arange(20) / 8)
    start = open_video(clips["h264.ts"]).times
    assert start[0] == pytest.approx(0.08), "this container does not begin at 0, and the first frame keeps its own time"
    np.testing.assert_allclose(np.diff(start), 1 / 25, atol=1e-4)


def test_a_stream_holds_one_chunk_in_memory(clips: ClipFolder) -> None:
    video = open_video(clips["h264.mp4"])
    tracemalloc.start()
    for _, frames in video.stream(chunk=4):
        assert len(frames) <= 4
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * WIDTH * HEIGHT * 3, "sixteen frames; the clip has sixty"


@pytest.mark.parametrize("name", ["faststart.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "fragments.mp4", "mpeg2.mpg"])
def test_a_cut_file_is_read_to_its_last_good_frame_and_says_so(clips: ClipFolder, name: str) -> None:
    whole = open_video(clips[name])
    cut = open_video(clips.changed(name, lambda data: data[: len(data) * 6 // 10]))
    assert cut.truncated
    assert not whole.truncated
    assert 12 <= len(cut) < 50
    # Frames that the decoder would show after the cut may be missing before it (they were stored later): each has its own time.
    expected = np.round((cut.times - whole.times[0]) * 25).astype(int).tolist()
    assert numbers(cut) == expected
    assert [number_of(frame) for frame in cut.frames_at([len(cut) - 1, 0])] == [expected[-1], 0]
    with pytest.raises(VideoFrameError, match="truncated"):
        cut.frames_at([59])


def test_verify_lists_only_frames_that_decode(clips: ClipFolder) -> None:
    def wipe_a_packet(data: bytes) -> bytes:
        return data[: len(data) // 2] + bytes(len(data) // 20) + data[len(data) // 2 + len(data) // 20 :]

    path = clips.changed("faststart.mp4", wipe_a_packet)
    trusting, verified = open_video(path), open_video(path, verify=True)
    assert len(trusting) == 60
    assert len(verified) < 60
    with pytest.raises(VideoFrameError, match="verify=True"):
        numbers(trusting)
    assert len(numbers(verified)) == len(verified)
    assert set(verified.times.tolist()) < set(trusting.times.tolist())


def test_nothing_good_is_an_error(clips: ClipFolder) -> None:
    def wipe(data: bytes) -> bytes:
        at = data.index(b"mdat") + 4
        return data[:at] + bytes(len(data) - at)

    with pytest.raises(VideoUnreadable, match="without a frame"):
        open_video(clips.changed("faststart.mp4", wipe))


def test_arrays_are_checked() -> None:
    with pytest.raises(VideoUnreadable, match="fps"):
        open_video(ARRAY)
    for wrong in (ARRAY[0], ARRAY.astype(np.float32), ARRAY[:0], ARRAY.transpose(0, 3, 1, 2)):
        with pytest.raises(VideoUnreadable, match="uint8"):
            open_video(wrong, fps=5)
    with pytest.raises(VideoTooLarge, match="frames"):
        open_video(ARRAY, Limits(frames=19), fps=5)
    with pytest.raises(VideoTooLarge, match="300000 x 1, a strip"):
        open_video(np.zeros((1, 1, 300_000, 3), np.uint8), fps=5)
    assert open_video(ARRAY, fps=5).info.seconds == 4.0


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "bmp"])
def test_still_images(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"still.{kind}"
    Image.fromarray(numbered(5)).save(path, **({"lossless": True} if kind == "webp" else {"quality": 95}))
    image = open_video(path)
    assert image.info.is_image
    assert image.times.tolist() == [0.0]
    assert (image.info.width, image.info.height, image.info.frames) == (WIDTH, HEIGHT, 1)
    assert number_of(image.frames_at([0])[0]) == 5
    assert [frames.shape for _, frames in image.stream()] == [(1, HEIGHT, WIDTH, 3)]
    if kind != "jpg":
        np.testing.assert_array_equal(image.frames_at([0, 0])[1], numbered(5))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(numbered(77))
    way = Image.Transpose
    undo = [
        None,
        way.FLIP_LEFT_RIGHT,
        way.ROTATE_180,
        way.FLIP_TOP_BOTTOM,
        way.TRANSPOSE,
        way.ROTATE_90,
        way.TRANSVERSE,
        way.ROTATE_270,
    ]
    turn = undo[orientation - 1]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    image = open_video(tmp_path / "turned.png")
    assert (image.info.width, image.info.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(image.frames_at([0])[0], numbered(77))


def test_images_of_other_modes(tmp_path: Path) -> None:
    deep = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(open_video(tmp_path / "deep.png").frames_at([0])[0, :, :, 1], deep >> 8)
    Image.fromarray(numbered(3)).convert("P").save(tmp_path / "palette.png")
    assert number_of(open_video(tmp_path / "palette.png").frames_at([0])[0]) == 3


def test_damaged_and_moving_images_are_errors(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    with pytest.raises(VideoUnreadable, match="damaged image"):
        open_video(tmp_path / "cut.jpg").frames_at([0])
    frames = [Image.fromarray(numbered(i)) for i in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(VideoUnreadable, match="animated"):
        open_video(tmp_path / "moving.webp")


def test_a_photo_with_a_preview_behind_it_is_a_still_image(tmp_path: Path) -> None:
    """As many cameras write JPEG; Pillow calls it MPO, of two frames."""
    photo = Image.fromarray(numbered(9))
    photo.save(tmp_path / "photo.jpg", format="MPO", save_all=True, append_images=[photo.resize((48, 32))], quality=95)
    image = open_video(tmp_path / "photo.jpg")
    assert (image.info.codec, image.info.width, image.info.height, len(image)) == ("jpeg", WIDTH, HEIGHT, 1)
    assert number_of(image.frames_at([0])[0]) == 9


def test_a_tiff_is_told_what_to_become(tmp_path: Path) -> None:
    Image.fromarray(numbered(9)).save(tmp_path / "scan.tiff")
    with pytest.raises(VideoUnreadable, match=r"a TIFF image; expected .*JPEG, PNG, WebP or BMP; convert it to PNG"):
        open_video(tmp_path / "scan.tiff")


def test_a_gif_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(numbered(i)) for i in range(5)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    assert numbers(open_video(tmp_path / "moving.gif")) == [0, 1, 2, 3, 4]
