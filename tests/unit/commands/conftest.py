"""What the commands are tried on: a clip on disk, and a model that was taught one answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import vglamm
from tests import fakes
from vglamm import cli
from vglamm.media.mp4 import write_mp4
from vglamm.walk import Walk

Run = Callable[..., int]


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, dict[str, object]]]:
    """Loads the taught model whatever model is asked for; the list tells what was asked for."""
    asked: list[tuple[object, dict[str, object]]] = []

    def load(source: object, **settings: object) -> Walk:
        asked.append((source, settings))
        return Walk.of(fakes.talker(), fakes.tokenizer())

    monkeypatch.setattr(vglamm, "load", load, raising=False)
    return asked


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 64 x 48 at 6 frames per second."""
    path = tmp_path_factory.mktemp("clip") / "square [1].mp4"
    write_mp4(path, ((i / 6, frame) for i, frame in enumerate(fakes.video(12))), last=1 / 6)
    return path


@pytest.fixture
def run() -> Run:
    """The command line with these words; gives its exit code."""

    def words(*given: object) -> int:
        with pytest.raises(SystemExit) as exit:
            cli.main([str(word) for word in given])
        return int(exit.value.code or 0)

    return words
