"""Children that examine and decode are without a network where the kernel allows it, and read the same."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.unit.media.clips import encode, number_of
from tests.unit.media.processes import born
from vglamm.media.guarded import open_guarded
from vglamm.media.limits import Limits

OFFLINE = Limits(offline=True)
REACH = """
import socket, sys
from vglamm.media.isolation import leave_network
left = leave_network()
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
    print(left, "reached")
except OSError:
    print(left, "nobody")
"""


def allowed() -> bool:
    return subprocess.run([sys.executable, "-m", "vglamm.media.isolation"], check=False, timeout=60).returncode == 0


def namespace(pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


@pytest.fixture(scope="module", autouse=True)
def _needs_namespaces() -> None:
    if not allowed():
        pytest.skip("got a kernel without unprivileged network namespaces; expected one; see `vglamm doctor`")


def test_a_process_that_left_reaches_nobody() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = subprocess.run([sys.executable, "-c", REACH, str(port)], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["True", "nobody"]


@pytest.mark.parametrize("offline", [True, False])
def test_a_decoder_works_in_a_network_of_its_own(tmp_path: Path, offline: bool) -> None:
    clip = encode(tmp_path / "clip.mp4", numbers=range(8))
    with closing(open_guarded(clip, Limits(offline=offline))) as source:
        frames = source.frames_at([0, 5])
        assert [number_of(frame) for frame in frames] == [0, 5]
        [child] = born()
        assert (namespace(child) != namespace("self")) is offline


def test_frames_are_the_same(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", numbers=range(8))
    with closing(open_guarded(clip, OFFLINE)) as one, closing(open_guarded(clip)) as two:
        assert np.array_equal(one.frames_at(range(8)), two.frames_at(range(8)))
