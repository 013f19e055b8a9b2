"""Overlays, read by PyAV and Pillow; the video is found again, and only the right one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import fakes
from tests.unit.export.runs import an_answer, failed, moving, ok, write_run
from vglamm.annotation import Annotation
from vglamm.errors import VideoNotFound
from vglamm.export.formats import export
from vglamm.export.sources import Sources
from vglamm.media.mp4 import write_mp4
from vglamm.places import sha256


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "videos" / "a.mp4"
    write_mp4(path, ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    return path


def about(clip: Path, identity: str = "a", uri: str | None = None) -> Annotation:
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    answer = an_answer(moving(size=(48, 64)))
    return ok(identity, answer, uri=str(clip) if uri is None else uri, sha256=sha256)


def test_an_mp4_plays_in_a_browser(clip: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [about(clip), failed(), about(clip, "a#2")])
    export(run, "mp4", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a%232.mp4", "a.mp4", "export.json"]
    data = (tmp_path / "out" / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    with av.open(str(tmp_path / "out" / "a.mp4")) as container:
        [stream] = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        times = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
    assert times == pytest.approx([0, 0.5, 1.0, 1.5])


def test_an_image_becomes_a_picture(tmp_path: Path) -> None:
    Image.fromarray(fakes.video(1)[0]).save(tmp_path / "a.png")
    row = ok("a", an_answer(moving(frames=1, size=(48, 64)), (0,), 1), uri=str(tmp_path / "a.png"))
    export(write_run(tmp_path / "run", [row]), "mp4", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert np.asarray(image).std() > 0


@pytest.mark.parametrize("uri", ["elsewhere/a.mp4", "s3://bucket/some/a.mp4", "/gone/a.mp4", "../videos/a.mp4", "../b.mp4"])
def test_videos_are_found_again_in_a_folder(clip: Path, uri: str) -> None:
    row = about(clip, uri=uri)
    assert Sources(clip.parent).find(row) == clip
    with pytest.raises(VideoNotFound, match="--videos"):
        Sources().find(row)


def test_a_relative_address_is_kept_below_the_folder(clip: Path) -> None:
    (clip.parent / "sub").mkdir()
    moved = clip.rename(clip.parent / "sub" / "a.mp4")
    clip.write_bytes(b"another video of that name")
    assert Sources(clip.parent).find(about(moved, uri="sub/a.mp4")) == moved


@pytest.mark.parametrize("uri", ["/elsewhere/videos/sub/a.mp4", "s3://bucket/sub/a.mp4"])
def test_of_two_of_one_name_the_one_below_its_own_folder_is_taken(clip: Path, uri: str) -> None:
    (clip.parent / "sub").mkdir()
    moved = clip.rename(clip.parent / "sub" / "a.mp4")
    assert Sources(clip.parent).find(about(moved, uri=uri)) == moved
    clip.write_bytes(b"another video of that name")
    assert Sources(clip.parent).find(about(moved, uri=uri)) == moved


def test_another_video_of_that_name_is_refused(clip: Path, tmp_path: Path) -> None:
    row = about(clip)
    clip.write_bytes(clip.read_bytes() + b"!")
    with pytest.raises(VideoNotFound, match="not the file"):
        export(write_run(tmp_path / "run", [row]), "mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert Sources().find(replace(row, sha256=None)) == clip


def test_a_folder_of_frames_must_be_the_one_that_was_annotated(tmp_path: Path) -> None:
    for place in ("own", "other"):
        (tmp_path / place / "v1").mkdir(parents=True)
        Image.new("RGB", (8, 6), "red" if place == "own" else "blue").save(tmp_path / place / "v1" / "0.png")
    row = ok("v1", uri=str(tmp_path / "own" / "v1"), sha256=sha256(tmp_path / "own" / "v1"))
    assert Sources().find(row) == tmp_path / "own" / "v1"
    assert Sources(tmp_path / "own").find(row) == tmp_path / "own" / "v1"
    with pytest.raises(VideoNotFound, match="not the file"):
        Sources(tmp_path / "other").find(row)
