"""What the tests of the endpoint share: a spool with a clip, and a backend that grounds what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.inprocess import InProcess
from tests import fakes
from vglamm.media.mp4 import write_mp4
from vglamm.walk import Walk


@pytest.fixture(scope="session")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clip.mp4`` of 12 frames at 6 a second."""
    folder = tmp_path_factory.mktemp("spool")
    write_mp4(folder / "clip.mp4", ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    return folder


@pytest.fixture(scope="session")
def walk() -> Walk:
    return Walk.of(fakes.talker(), fakes.tokenizer())


@pytest.fixture
def backend(walk: Walk, spool: Path) -> Iterator[InProcess]:
    made = InProcess({"fake": walk}, str(spool))
    yield made
    made.close()
