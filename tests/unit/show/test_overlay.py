"""The overlay shows the right colour at the right place and time, and plays in browsers."""

import dataclasses
import itertools
import json
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.unit.media.shapes import answer_about, movie
from vglamm.errors import VideoFrameError, VideoNotFound
from vglamm.media.mp4 import write_mp4
from vglamm.show import overlay
from vglamm.show.colours import colour, ink
from vglamm.show.legend import names, panel, text_runs

TIMES = (0.5, 0.6, 0.9, 1.0, 1.4, 1.5)
VIDEO, MASKS = movie(6, (36, 64))


def decoded(path: Path) -> tuple[list[float], np.ndarray]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float(frame.pts * frame.time_base) for frame in frames], np.stack(
        [frame.to_ndarray(format="rgb24") for frame in frames]
    )


def test_colours_are_distinct_and_stable() -> None:
    shades = [colour(track) for track in range(21)]
    assert len(set(shades)) == 21
    assert shades[0] == (86, 180, 233)
    assert all(0 <= channel <= 255 for shade in [*shades, colour(500)] for channel in shade)
    near = min(sum(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in itertools.combinations(shades[:7], 2))
    assert near > 75


def test_ink_is_the_more_readable_one() -> None:
    assert ink((255, 255, 255)) == ink((240, 228, 66)) == (0, 0, 0)
    assert ink((0, 0, 0)) == ink((0, 60, 120)) == (255, 255, 255)


def test_painted_mask_is_tinted_and_the_rest_is_left() -> None:
    frame, mask = np.full((40, 60, 3), 100, dtype=np.uint8), np.zeros((40, 60), dtype=bool)
    mask[10:30, 20:50] = True
    overlay.draw_mask(frame, mask, (200, 0, 0), 0.5, 2)
    assert frame[20, 35].tolist() == [150, 50, 50]  # inside: half and half
    assert frame[10, 35].tolist() == frame[11, 35].tolist() == [200, 0, 0]  # an edge of two pixels in full colour
    assert frame[12, 35].tolist() == [150, 50, 50]
    assert frame[9, 35].tolist() == [33, 33, 33]  # a dark rim outside
    assert (frame[:9] == 100).all()
    assert (frame[:, :19] == 100).all()


def test_no_edge_is_drawn_where_the_picture_ends() -> None:
    frame, mask = np.zeros((8, 8, 3), dtype=np.uint8), np.ones((8, 8), dtype=bool)
    overlay.draw_mask(frame, mask, (200, 100, 50), 0.5, 2)
    assert (frame == [100, 50, 25]).all()


def test_sizes_are_even_and_within_bounds() -> None:
    assert overlay.fit((101, 37), 64, 1920) == (102, 38) or overlay.fit((101, 37), 64, 1920) == (100, 36)
    assert overlay.fit((36, 64), 640, 1920) == (360, 640)
    assert overlay.fit((2160, 3840), 640, 1920) == (1080, 1920)
    assert overlay.fit((1, 5000), 640, 1920) == (2, 1920)


def test_video_has_the_times_of_the_source_and_plays_in_browsers(tmp_path: Path) -> None:
    answer = answer_about(MASKS, TIMES)
    overlay.write_video(tmp_path / "out.mp4", answer, VIDEO)
    times, frames = decoded(tmp_path / "out.mp4")
    assert times == pytest.approx([time - TIMES[0] for time in TIMES], abs=1e-4)
    painter = overlay.Painter(answer)
    assert frames.shape[1:3] == painter.size
    assert not any(side % 2 for side in painter.size)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.duration * stream.time_base) == pytest.approx(1.1, abs=1e-3)  # the last frame lasts as the median
    written = (tmp_path / "out.mp4").read_bytes()
    assert written.index(b"moov") < written.index(b"mdat")  # faststart
    for k in (0, 3):
        expected = painter.paint(VIDEO[k], k).astype(int)
        assert np.abs(expected - frames[k]).mean() < 6


def test_video_as_other_programs_see_it(tmp_path: Path, requires_ffmpeg: str) -> None:
    overlay.write_video(tmp_path / "out.mp4", answer_about(MASKS, TIMES), VIDEO)
    command = [requires_ffmpeg.replace("ffmpeg", "ffprobe"), "-v", "error", "-show_entries", "packet=pts_time", "-of", "json"]
    shown = subprocess.run([*command, str(tmp_path / "out.mp4")], capture_output=True, check=True, timeout=60)
    assert [float(packet["pts_time"]) for packet in json.loads(shown.stdout)["packets"]] == pytest.approx(
        [0, 0.1, 0.4, 0.5, 0.9, 1.0], abs=1e-3
    )


def test_the_colour_follows_the_object() -> None:
    painter = overlay.Painter(answer_about(MASKS, TIMES))
    plain = overlay.resize_frame(VIDEO[0], painter.picture).astype(float)
    painted = painter.paint(VIDEO[0], 0)[: painter.picture[0]]
    inside = overlay.resize_mask(MASKS[0, 0], painter.picture)
    core = inside & ~overlay._grow(~inside, 8)
    core[: int(painter.picture[0] * 0.45)] = False  # the name may stand at the upper edge
    expected = plain[core] * (1 - overlay.ALPHA) + np.array(colour(0)) * overlay.ALPHA
    assert np.abs(painted[core] - expected).max() <= 1


def test_picture_of_an_image(tmp_path: Path) -> None:
    answer = answer_about(MASKS[:, :1], (0.0,))
    overlay.write_image(tmp_path / "out.png", answer, VIDEO[:1])
    painted = (tmp_path / "out.png").read_bytes()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), overlay.Painter(answer).paint(VIDEO[0], 0))
    for same in (VIDEO[0], Image.fromarray(VIDEO[0])):
        overlay.write_image(tmp_path / "out.png", answer, same)
        assert (tmp_path / "out.png").read_bytes() == painted


def test_picture_of_a_video_shows_the_frame_with_most_objects() -> None:
    only_late = MASKS.copy()
    only_late[1, :2] = False
    assert overlay.key_position(answer_about(only_late, TIMES)) in (2, 3)
    assert overlay.key_position(answer_about(MASKS[:0], TIMES, raw="Nothing.")) == 0
    assert overlay.key_position(answer_about(np.zeros_like(MASKS), TIMES)) == 0


def test_frames_from_a_file_and_from_arrays_are_the_same(tmp_path: Path) -> None:
    video, masks = movie(6, (64, 96))
    write_mp4(tmp_path / "source.mp4", zip(TIMES, video, strict=True), 0.1, crf=4)
    answer = answer_about(masks, TIMES, source=str(tmp_path / "source.mp4"))
    picked = dataclasses.replace(answer.sampling, grounding_indices=(1, 4), grounding_times=(TIMES[1], TIMES[4]))
    few = dataclasses.replace(answer, sampling=picked, tracks=(), phrases=())
    from_file = [frame for _, frame in overlay.grounding_frames(few)]
    from_all = [frame for _, frame in overlay.grounding_frames(few, video)]
    from_few = [frame for _, frame in overlay.grounding_frames(few, video[[1, 4]])]
    assert np.array_equal(from_all, from_few)
    assert np.abs(np.stack(from_file).astype(int) - np.stack(from_all)).mean() < 4


def test_an_answer_without_grounding_frames_has_no_overlay(tmp_path: Path) -> None:
    answer = answer_about(MASKS[:0], TIMES, raw="Nothing.")
    bare = dataclasses.replace(answer, sampling=dataclasses.replace(answer.sampling, grounding_indices=(), grounding_times=()))
    for write in (overlay.write_video, overlay.write_image):
        with pytest.raises(VideoFrameError, match="without grounding frames"):
            write(tmp_path / "out", bare, VIDEO)


def test_another_video_is_refused(tmp_path: Path) -> None:
    answer = answer_about(MASKS, TIMES)
    with pytest.raises(VideoFrameError, match="pass the frames"):
        list(overlay.grounding_frames(answer, VIDEO[:4]))
    with pytest.raises(VideoFrameError, match="video that was asked"):
        list(overlay.grounding_frames(answer, VIDEO[:, :20]))
    with pytest.raises(VideoNotFound):
        overlay.write_video(tmp_path / "out.mp4", dataclasses.replace(answer, source=str(tmp_path / "gone.mp4")))
    assert list(tmp_path.iterdir()) == []


def test_legend_names_and_runs() -> None:
    answer = answer_about(np.concatenate([MASKS, MASKS[:1]]), TIMES, raw="<p> a man </p> [SEG] rides <p> a bike </p> [SEG]. [SEG]")
    assert names(answer) == ["a man", "a bike", "object 3"]
    assert list(text_runs(answer)) == [("a man", 0), (" rides ", None), ("a bike", 1), (".", None)]


def test_legend_keeps_to_its_place_and_shows_the_colours() -> None:
    wordy = answer_about(MASKS, TIMES, raw="<p> a red ball </p> [SEG] " + "and so on " * 400 + "x" * 3000 + "<p> b </p> [SEG]")
    drawn = panel(wordy, 320, 200, 14)
    assert drawn.shape[1] == 320
    assert drawn.shape[0] <= 240
    assert (drawn == colour(0)).all(axis=-1).any()
    assert panel(answer_about(MASKS[:0], TIMES, raw="", question=""), 320, 200, 14).shape[0] % 2 == 0


@pytest.mark.parametrize(
    ("times", "shapes"), [([], []), ([0.0, 0.0], [(4, 4), (4, 4)]), ([0.0], [(3, 4)]), ([0.0, 1.0], [(4, 4), (6, 4)])]
)
def test_frames_that_make_no_video_are_refused(tmp_path: Path, times: list[float], shapes: list[tuple[int, int]]) -> None:
    frames = [(time, np.zeros((*shape, 3), dtype=np.uint8)) for time, shape in zip(times, shapes, strict=True)]
    with pytest.raises(VideoFrameError):
        write_mp4(tmp_path / "out.mp4", frames, 0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [2, 20, 48, 200])
def test_words_that_are_wider_than_a_narrow_picture_end(width: int) -> None:
    answer = answer_about(MASKS, TIMES)
    assert panel(answer, width, 400, 14).shape[1] == width
