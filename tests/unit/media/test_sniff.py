from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.media.clips import ClipFolder
from vglamm.media.sniff import cut_short, image_format, indexed_container, is_tiff


def test_signatures() -> None:
    assert image_format(b"\xff\xd8\xff\xe1 rest") == "JPEG"
    assert image_format(b"\x89PNG\r\n\x1a\n") == "PNG"
    assert image_format(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "WEBP"
    assert image_format(b"RIFF\x00\x00\x00\x00AVI LIST") is None
    assert image_format(b"BM" + bytes(12) + b"\x28\0\0\0") == "BMP"
    assert image_format(b"BM, the beginning of a text") is None
    assert image_format(b"") is None
    assert is_tiff(b"II*\0")
    assert not is_tiff(b"II")
    assert indexed_container(b"\x00\x00\x00\x18ftypisom") == "mov"
    assert indexed_container(b"\x1a\x45\xdf\xa3") == "matroska"
    assert indexed_container(b"RIFF") is None


@pytest.mark.parametrize("name", ["faststart.mp4", "h264.mp4", "fragments.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "h264.ts"])
def test_a_missing_end_shows_in_the_containers_own_sizes(clips: ClipFolder, name: str) -> None:
    assert not cut_short(str(clips[name]))
    for left in (1, 50, 1001):
        assert cut_short(str(clips.changed(name, lambda data, left=left: data[:-left])))


@pytest.mark.parametrize(
    "data", [b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x01\xff\xff", b"\x00\x00\x00\x08ftyp\x00\x00\x00\x03bad!", b"G" * 100]
)
def test_short_and_senseless_files_say_nothing_or_cut(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert cut_short(str(tmp_path / "file")) is False
