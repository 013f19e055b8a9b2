"""The books of a run."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from vglamm.books import flat, opened


def _open(folder: Path, begin: Any, told: Any) -> None:
    import mlflow

    begin.wait(60)
    told.put(opened(mlflow, "local", folder, "first")[1])


@pytest.mark.slow
def test_runs_that_start_together_open_the_same_books(tmp_path: Path) -> None:
    """As the first two stages of the tiny model do in a fresh checkout."""
    apart = multiprocessing.get_context("spawn")
    begin, told = apart.Barrier(2), apart.Queue()
    processes = [apart.Process(target=_open, args=(tmp_path / "runs", begin, told)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert told.get(timeout=10) == told.get(timeout=10)


class _Server:
    """Another makes the experiment between the look for it and the try to make it."""

    class exceptions:
        class MlflowException(Exception):
            pass

    def __init__(self) -> None:
        self.made = 0

    def MlflowClient(self, uri: str) -> Any:
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return type("Experiment", (), {"experiment_id": "7"}) if self.made else None

    def create_experiment(self, name: str, artifact_location: str | None) -> str:
        self.made += 1
        raise self.exceptions.MlflowException("RESOURCE_ALREADY_EXISTS")


def test_an_experiment_that_another_made_meanwhile_is_taken(tmp_path: Path) -> None:
    assert opened(_Server(), f"sqlite:///{tmp_path}/books.db", tmp_path, "first")[1] == "7"


def test_settings_are_flat_texts() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": "1", "a.c": "{}", "d": "[1, 2]"}


def test_books_hold_no_password() -> None:
    args = {"tracking": "https://me:pass@books:5000/x", "models": {"a": "https://h/m?sig=pass"}, "spool": "s3://b/s?key=pass"}
    assert flat({"args": args}) == {
        "args.tracking": "https://books:5000/x",
        "args.models.a": "https://h/m",
        "args.spool": "s3://b/s",
    }
    assert flat({"said": "e@mail, what? and models:/night@champion"}) == {"said": "e@mail, what? and models:/night@champion"}
