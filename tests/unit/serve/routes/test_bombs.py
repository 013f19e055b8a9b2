"""Files that are small and would be enormous once decoded: refused before they cost memory or time, and not kept."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serve.ingress import api
from serve.settings import Settings
from tests.unit.media.clips import encode
from tests.unit.serve.canned import Canned, spooled

SIDE = 16_000
TRIES = 5
"""Of a busy machine the best one tells how long a refusal takes."""


def png(width: int, height: int) -> bytes:
    """A valid grey PNG of a few kilobytes for any size: rows of zeros compress a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def spent() -> float:
    """Seconds of processor time of this process's children: what wall time says of a busy machine is not the decoder's."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("bombs")
    still = {"options": {"preset": "ultrafast", "tune": "zerolatency"}, "size": (64, 48)}
    return {
        "pixels of an image": png(SIDE, SIDE),
        "pixels of a video": encode(folder / "large.mkv", "ffv1", [0], size=(4200, 2400), pixel_format="gray").read_bytes(),
        "frames": encode(folder / "long.mp4", numbers=(0 for _ in range(1201)), rate=200, **still).read_bytes(),
        "frames per second": encode(folder / "fast.mp4", numbers=range(30), rate=1000, **still).read_bytes(),
        "seconds": encode(folder / "slow.mp4", numbers=range(3), times=[0, 1_300_000, 2_600_000], **still).read_bytes(),
    }


@pytest.mark.parametrize("name", ["pixels of an image", "pixels of a video", "frames", "frames per second", "seconds"])
def test_a_bomb_is_refused_in_less_than_a_second(name: str, bombs: dict[str, bytes], settings: Settings) -> None:
    media = replace(settings.taken.media, frames=1200)
    settings = replace(settings, taken=replace(settings.taken, media=media))
    client = TestClient(api(Canned(settings.spool, media), settings))
    walls = []
    while len(walls) < TRIES and min(walls, default=1.0) >= 1.0:
        before, began = spent(), time.perf_counter()
        response = client.post("/v1/videos", content=bombs[name])
        walls.append(time.perf_counter() - began)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "video_too_large")
        assert spent() - before < 1.0
    assert min(walls) < 1.0, f"{walls} s"
    assert spooled(Path(settings.spool)) == []
