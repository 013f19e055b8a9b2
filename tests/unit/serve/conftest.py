"""What the tests of the endpoint share: a spool with a clip, and a backend that grounds what it says.

torch is imported by those fixtures only that need it: most tests of the HTTP side do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vglamm.media.mp4 import write_mp4

if TYPE_CHECKING:
    from serve.backends.inprocess import InProcess
    from vglamm.walk import Walk


@pytest.fixture(scope="session")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clip.mp4`` of 12 frames at 6 a second."""
    from tests import fakes

    folder = tmp_path_factory.mktemp("spool")
    write_mp4(folder / "clip.mp4", ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    return folder


@pytest.fixture(scope="session")
def walk() -> Walk:
    from tests import fakes
    from vglamm.walk import Walk

    return Walk.of(fakes.talker(), fakes.tokenizer())


@pytest.fixture
def backend(walk: Walk, spool: Path) -> Iterator[InProcess]:
    from serve.backends.inprocess import InProcess

    made = InProcess({"fake": walk}, str(spool))
    yield made
    made.close()
