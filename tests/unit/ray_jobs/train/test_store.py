from __future__ import annotations

from pathlib import Path

import pytest

from ray_jobs.train import store
from vglamm.errors import CheckpointError, ConfigError


def made(run: Path, step: int, *, broken: bool = False) -> Path:
    folder = run / store.folder_name(step)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"123")
    store.seal(folder)
    if broken:
        (folder / "weights").write_bytes(b"1")
    return folder


def test_the_latest_is_the_newest_complete_one(tmp_path: Path) -> None:
    assert store.latest(tmp_path / "none") is None
    good = made(tmp_path, 90)
    made(tmp_path, 100, broken=True)
    (tmp_path / ".step-0000110.partial").mkdir()
    (tmp_path / "step-0000120").mkdir()  # a copy that was cut off before its first file
    assert store.latest(tmp_path) == good


def test_pruning_keeps_the_newest_and_clears_what_was_cut(tmp_path: Path) -> None:
    for step in (1, 2, 10, 20):
        made(tmp_path, step)
    made(tmp_path, 30, broken=True)
    (tmp_path / ".step-0000040.partial").mkdir()
    store.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000010", "step-0000020"]


def test_state_comes_back(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\.json"):
        store.read_state(tmp_path)
    (tmp_path / "state.json").write_text('{"step": 3, "consumed": 24}')
    assert store.read_state(tmp_path) == store.State(3, 24)


@pytest.mark.parametrize("name", ["none.such:Class", "tests.unit.ray_jobs.lines:Nothing"])
def test_an_objective_that_cannot_be_imported_is_named(lines_recipe, name: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=name):
        store.build(lines_recipe(f"objective={name}"), None)
