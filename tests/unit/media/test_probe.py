"""What is accepted, what is refused, and that refusing costs little."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.unit.media.clips import HEIGHT, WIDTH, ClipFolder, encode
from vglamm.errors import VideoError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media import probe as probe_module
from vglamm.media.limits import Limits
from vglamm.media.probe import probe, scan

MEASURE = """
import resource, sys
from vglamm.errors import VideoTooLarge
from vglamm.media import forked
from vglamm.media.probe import probe
try:
    probe(sys.argv[1])
except VideoTooLarge as error:
    assert "pixels" in error.got, error
    forked._stop()  # processes count once they are waited for, those of the nursery with it
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def bomb(path: Path) -> Path:
    """16000 x 16000 pixels in a few kilobytes. One bit a pixel, so that making it costs 32 MB; as RGB it is 768 MB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16000, 16000, "monob"
        frame = av.VideoFrame(16000, 16000, "monob")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_probe_tells_what_a_clip_is(clips: ClipFolder) -> None:
    info = probe(clips["h264.mp4"])
    assert (info.width, info.height, info.frames, info.codec, info.rotation) == (WIDTH, HEIGHT, 60, "h264", 0)
    assert info.fps == pytest.approx(25)
    assert info.seconds == pytest.approx(2.4)
    assert info.path == str(clips["h264.mp4"])
    assert not info.is_image


def test_size_is_as_shown(clips: ClipFolder) -> None:
    turned, wide = probe(clips["turned_90.mp4"]), probe(clips["wide_pixels.mp4"])
    assert (turned.width, turned.height, turned.rotation) == (HEIGHT, WIDTH, 270)
    assert (wide.width, wide.height) == (WIDTH * 4 // 3, HEIGHT)
    assert wide.pixel_aspect == pytest.approx(4 / 3)
    assert probe(clips["mirrored.mp4"]).mirrored


def test_a_bomb_is_refused_at_once_and_cheaply(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.mov")
    assert path.stat().st_size < 100_000
    ran = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    assert 20 < int(ran.stdout) < 300, "megabytes of the child at its peak"
    began = time.monotonic()
    with pytest.raises(VideoTooLarge, match="pixels"):
        probe(path)
    assert time.monotonic() - began < 5, "a loaded machine may be slow; alone it takes 0.4 s"


def test_a_picture_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (16000, 16000)).save(path)
    with pytest.raises(VideoTooLarge, match="pixels"):
        probe(path)


@pytest.mark.parametrize("kind", ["png", "coded", "shown"])
def test_a_strip_is_refused(tmp_path: Path, kind: str) -> None:
    """A few hundred bytes, which the tower that scales the shorter side would make gigabytes of."""
    path = tmp_path / ("strip.png" if kind == "png" else "strip.mp4")
    if kind == "png":
        Image.new("RGB", (1, 60000)).save(path)
    elif kind == "coded":
        encode(path, numbers=range(3), size=(4096, 2))
    else:
        encode(path, numbers=range(3), aspect=Fraction(100))
    with pytest.raises(VideoTooLarge, match=r"a strip.*at most 100 times.*Limits\.aspect"):
        probe(path)
    assert probe(path, Limits(aspect=60000)).codec


def test_a_sparse_file_of_10_gb_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mp4"
    with open(path, "wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(VideoTooLarge, match="bytes"):
        probe(path)


@pytest.mark.parametrize(
    ("limits", "what"),
    [(Limits(frames=59), "frames"), (Limits(seconds=2.0), "seconds"), (Limits(fps=24), "fps"), (Limits(streams=0), "streams"),
     (Limits(bytes=1000), "bytes"), (Limits(pixels=WIDTH * HEIGHT - 1), "pixels")],
)  # fmt: skip
def test_each_limit_is_named(clips: ClipFolder, limits: Limits, what: str) -> None:
    with pytest.raises(VideoTooLarge, match=f"{what} in the video") as caught:
        scan(clips["h264.mp4"], limits)
    assert f"Limits.{what}" in caught.value.fix
    assert probe(clips["h264.mp4"], Limits(frames=60, seconds=2.4, fps=25, streams=1, pixels=WIDTH * HEIGHT)).frames == 60


def test_frames_are_counted_where_the_header_does_not_say(clips: ClipFolder) -> None:
    assert probe(clips["h264.mkv"]).frames is None
    for name in ("h264.mkv", "h264.ts"):
        with pytest.raises(VideoTooLarge, match="frames in the video"):
            scan(clips[name], Limits(frames=59))
        assert len(scan(clips[name], Limits(frames=60)).pts) == 60


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A WebM as a browser's MediaRecorder leaves it: frames of about 30 a second, and no word of their rate or of the length."""
    gaps = np.random.default_rng(0).integers(28, 39, 89)
    path = encode(
        tmp_path / "live.webm", "libvpx", range(90), times=[0, *np.cumsum(gaps).tolist()], container_options={"live": "1"}
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"\x23\xe3\x83")  # DefaultDuration, of one byte of length
    size = 4 + (data[at + 3] & 0x7F)
    data[at : at + size] = bytes([0xEC, 0x80 | size - 2]) + bytes(size - 2)  # Void
    path.write_bytes(data)
    return path


def test_a_recording_of_a_browser_has_the_rate_and_the_length_of_its_frames(recording: Path) -> None:
    found = scan(recording)
    span = float((found.pts[-1] - found.pts[0]) * found.time_base)
    for info in (found.info, probe(recording)):
        assert info.fps == pytest.approx(89 / span) == pytest.approx(30, abs=1)
        assert info.seconds == pytest.approx(span * 90 / 89)
    with pytest.raises(VideoTooLarge, match="fps"):
        scan(recording, Limits(fps=29))
    with pytest.raises(VideoTooLarge, match="seconds"):
        scan(recording, Limits(seconds=2.9))


def test_a_single_frame_without_a_rate_is_not_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.ivf", "libvpx", range(1), times=[0])
    assert len(scan(path).pts) == 1


def test_many_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "streams.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=5) for _ in range(40)]
        for stream in streams:
            stream.width = stream.height = 16
            stream.pix_fmt = "yuv420p"
        for stream in streams:
            container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            container.mux(stream.encode(None))
    with pytest.raises(VideoTooLarge, match="40 streams"):
        probe(path)


def test_a_thousand_frames_a_second_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoTooLarge, match="1000 fps"):
        probe(encode(tmp_path / "fast.mp4", numbers=range(4), rate=1000))


BROKEN = {
    "empty": b"",
    "random": np.random.default_rng(0).bytes(20_000),
    "text": b"this is not a video\n" * 400,
    "jpeg cut in its header": b"\xff\xd8\xff\xe0",
    "png of nothing": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "ftyp alone": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2",
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "concat list": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", ["clip.mp4", "clip"])
def test_what_is_no_video_is_unreadable(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[kind])
    with pytest.raises(VideoUnreadable) as caught:
        scan(path)
    assert caught.value.fix


def test_no_moov(clips: ClipFolder) -> None:
    with pytest.raises(VideoUnreadable):
        scan(clips.changed("h264.mp4", lambda data: data[: len(data) // 2]))


def test_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoUnreadable, match="without a video stream"):
        probe(path)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFound):
        probe(tmp_path / "absent.mp4")
    with pytest.raises(VideoUnreadable, match="regular file"):
        probe(tmp_path)
    for url in (
        "http://127.0.0.1/a.mp4",
        "file:///etc/passwd",
        "concat:a.mp4|b.mp4",
        "pipe:0",
        "data:video/mp4;base64,AAAA",
        "a\0b",
    ):
        with pytest.raises(VideoNotFound):
            probe(url)


def test_a_path_is_never_a_url(clips: ClipFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be called like a protocol or an option."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:0", "concat:a|b", "-i.mp4", "http:x.mp4"):
        Path(name).write_bytes(clips["h264.mp4"].read_bytes())
        assert len(scan(name).pts) == 60


def test_nothing_in_a_file_opens_a_connection(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"
        for name, text in {
            "a.m3u8": playlist,
            "b.mp4": playlist,
            "c.ffconcat": f"ffconcat version 1.0\nfile '{address}'\n",
        }.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(VideoUnreadable):
                scan(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_child_that_crashes_is_an_error_here(clips: ClipFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "_EXAMINE", "tests.unit.media.crashing")
    with pytest.raises(VideoUnreadable, match="decoder failed"):
        probe(clips["h264.mp4"])


def test_a_child_that_never_ends_is_stopped(clips: ClipFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "_EXAMINE", "tests.unit.media.endless")
    with pytest.raises(VideoTooLarge, match="took too long"):
        probe(clips["h264.mp4"], replace(Limits(), cpu_seconds=1))


def test_a_child_without_memory_is_an_error_here(clips: ClipFolder) -> None:
    with pytest.raises(VideoError):
        probe(clips["h264.mp4"], replace(Limits(), memory=60 * 1024**2))


def test_reading_needs_no_torch(clips: ClipFolder) -> None:
    code = (
        "import re, sys; from vglamm.media.read import open_video; v = open_video(sys.argv[1]); v.frames_at([3]); list(v.stream());"
        "assert 'torch' not in sys.modules; print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(clips["h264.mp4"])], check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 150 * 1024, "kilobytes of a process that reads a small clip"


def test_errors_and_findings_cross_a_process_border(clips: ClipFolder) -> None:
    found = scan(clips["h264.mp4"])
    again = pickle.loads(pickle.dumps(found))
    assert again.info == found.info
    np.testing.assert_array_equal(again.pts, found.pts)
