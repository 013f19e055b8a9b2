import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests import fakes
from vglamm.config import SamplingConfig
from vglamm.errors import VideoFrameError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.frames import choose, end_of, grounding_source, open_frames, vision_input
from vglamm.media.read import ArraySource
from vglamm.media.sample import evenly, published_grounding

CONFIG = fakes.config()


def source(frames: int = 40, fps: float = 10.0) -> ArraySource:
    return ArraySource(fakes.video(frames, 24, 32), fps)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def test_the_published_rule_is_the_default():
    sampling = choose(source(700, 3.0), CONFIG)
    assert sampling.grounding_indices == published_grounding(700, 3.0, 64)
    assert len(sampling.grounding_indices) == 64
    picked = [sampling.grounding_indices[i] for i in evenly(64, 4)]
    assert list(sampling.llm_indices) == picked
    assert sampling.llm_times == tuple(i / 3 for i in picked)
    assert (sampling.source_frames, sampling.source_fps, sampling.size) == (700, 3.0, (24, 32))


def test_a_limit_replaces_the_published_one_and_thins_evenly():
    assert choose(source(), CONFIG, limit=3).grounding_indices == (0, 10, 30)
    unlimited = replace(CONFIG, sampling=SamplingConfig(limit=None))
    assert len(choose(source(100, 1.0), unlimited).grounding_indices) == 100


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fps": "2"}, "fps '2'.*a number"),
        ({"limit": 2.5}, "limit 2.5.*a whole number"),
        ({"start": "1"}, "start '1'"),
        ({"end": [3]}, r"end \[3\]"),
    ],
)
def test_what_is_no_number_is_told(given, told):
    with pytest.raises(VideoFrameError, match=told):
        choose(source(), CONFIG, **given)


def test_deep_grey_is_scaled_and_what_has_no_white_is_refused():
    grey = np.linspace(0, 65535, 24 * 32).reshape(24, 32)
    expected = (grey.astype(np.uint16) >> 8).astype(np.uint8)
    for dtype in (np.uint16, np.int32):
        shown = open_frames(Image.fromarray(grey.astype(dtype))).frames_at([0])[0]
        assert np.array_equal(shown, np.repeat(expected[..., None], 3, axis=2)), dtype
    for image in (Image.fromarray(grey.astype(np.float32) / 65535), Image.fromarray((grey - 5).astype(np.int32))):
        with pytest.raises(VideoUnreadable, match="convert it to RGB"):
            open_frames(image)


def test_addresses_are_no_paths(tmp_path):
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(tmp_path / "a b.png")
    assert open_frames((tmp_path / "a b.png").as_uri()).info.is_image
    with pytest.raises(VideoNotFound, match=r"the address 'https://example.org/x.mp4'.*download it"):
        open_frames("https://example.org/x.mp4")


@pytest.mark.parametrize("every", [{"every_frame": True}, {"fps": float("inf")}])
def test_every_frame(every):
    sampling = choose(source(), CONFIG, **every)
    assert sampling.grounding_indices == tuple(range(40))
    assert sampling.llm_indices == (0, 13, 26, 39)
    assert choose(source(), CONFIG, limit=5, **every).grounding_indices == (0, 9, 19, 29, 39)


def test_a_rate_goes_by_presentation_time():
    video = source(6)
    video.times = np.array([0.0, 0.1, 0.2, 1.0, 1.1, 2.0])
    assert choose(video, CONFIG, fps=1.0).grounding_indices == (0, 3, 5)
    assert choose(video, replace(CONFIG, sampling=SamplingConfig(fps=1.0, limit=2))).grounding_indices == (0, 5)


def test_few_frames_repeat_the_last_for_the_language_model():
    sampling = choose(source(2), CONFIG, every_frame=True)
    assert sampling.grounding_indices == (0, 1)
    assert sampling.llm_indices == (0, 1, 1, 1)


def test_a_span_holds_its_start_and_not_its_end():
    sampling = choose(source(), CONFIG, every_frame=True, start=1.0, end=2.0)
    assert sampling.grounding_indices == tuple(range(10, 20))
    assert choose(source(), CONFIG, start=1.5).grounding_indices == (15, 25, 35)
    with pytest.raises(VideoFrameError, match="no frame from 9 to 10 s"):
        choose(source(), CONFIG, start=9, end=10)


def test_a_span_is_counted_from_the_first_frame():
    """A segment of a stream goes on where the one before ended."""
    late = source()
    late.times = late.times + 100.0
    sampling = choose(late, CONFIG, every_frame=True, start=1.0, end=2.0)
    assert sampling.grounding_indices == tuple(range(10, 20))
    assert sampling.grounding_times[0] == 101.0, "times are those of the file"
    assert end_of(late, 2.0) == 102.0
    assert end_of(late, 9.0) == pytest.approx(104.0)
    with pytest.raises(VideoFrameError, match=r"no frame from 100 to 101 s.* meets 0 to 3\.9 s, counted from the first frame"):
        choose(late, CONFIG, start=100, end=101)


def test_an_image_is_one_frame():
    image = open_frames(fakes.video(1, 24, 32)[0])
    sampling = choose(image, CONFIG, every_frame=True)
    assert sampling.grounding_indices == sampling.llm_indices == (0,)
    assert vision_input(image, sampling, CONFIG).is_image


def test_an_array_needs_a_rate_and_an_opened_video_none():
    video = fakes.video(5)
    assert open_frames(video, fps=5.0).info.fps == 5.0
    for fps in (None, float("inf")):
        with pytest.raises(VideoUnreadable, match="pass fps="):
            open_frames(video, fps=fps)
    opened = source()
    assert open_frames(opened) is opened


@pytest.mark.parametrize("wrong", [3, b"clip.mp4", None, [np.zeros((4, 4, 3), np.uint8)]])
def test_what_is_no_video_is_told_so(wrong):
    with pytest.raises(VideoUnreadable, match=r"got a (int|bytes|NoneType|list) for a video.*one array"):
        open_frames(wrong)


def test_an_image_in_memory_is_read_like_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(fakes.video(1, 24, 32)[0]).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        opened = open_frames(image)
    assert opened.info.is_image
    np.testing.assert_array_equal(opened.frames_at([0]), open_frames(tmp_path / "turned.png").frames_at([0]))
    with pytest.raises(VideoTooLarge, match="strip"):
        open_frames(Image.new("RGB", (1000, 1)))
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:900])
    with Image.open(tmp_path / "cut.jpg") as image, pytest.raises(VideoUnreadable, match="cannot be read"):
        open_frames(image)


def test_inputs_are_the_chosen_frames():
    video = source(9)
    sampling = choose(video, CONFIG, every_frame=True)
    seen = vision_input(video, sampling, CONFIG)
    assert seen.spatial.shape == (4, 3, 32, 32)
    chunks = list(grounding_source(video, sampling, CONFIG)(2, 9))
    assert [(part.start, len(part.frames)) for part in chunks] == [(2, 3), (5, 3), (8, 1)]
    assert {part.size for part in chunks} == {(24, 32)}
    whole = next(iter(grounding_source(video, sampling, CONFIG)(8, 9)))
    np.testing.assert_array_equal(chunks[2].frames, whole.frames)


def test_a_video_ends_when_its_last_frame_disappears():
    assert end_of(source(40, 10.0)) == pytest.approx(4.0)
    assert end_of(open_frames(fakes.video(1)[0])) == 0.0


def test_a_span_ends_where_it_was_to_end_or_with_the_video():
    assert end_of(source(40, 10.0), 2.0) == 2.0
    assert end_of(source(40, 10.0), 3.95) == 3.95, "while the last frame is shown"
    assert end_of(source(40, 10.0), 9.0) == pytest.approx(4.0)
    assert end_of(open_frames(fakes.video(1)[0]), 9.0) == 0.0
