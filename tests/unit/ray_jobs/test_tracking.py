from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ray_jobs.tracking import TAG, Tracker, window
from ray_jobs.train.recipes import Recipe, load, names
from ray_jobs.train.record import read
from ray_jobs.train.run import run_local
from vglamm.books import flat
from vglamm.errors import EnvironmentProblem


def report(step: int, **more: Any) -> dict[str, Any]:
    lines = [
        {"step": step - 2, "loss": 3.0, "norm": 1.0, "lr": 0.1, "wait": 0.0, "seconds": 1.0},
        {"step": step - 1, "loss": 1.0, "norm": 1.0, "lr": 0.1, "wait": 0.5, "seconds": 1.0, "right": 0.25},
    ]
    return {"rank": 0, "step": step, "total": 10, "batch": 8, "steps": lines, "samples": [], **more}


def test_a_run_and_its_resumption_are_one_run(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("log.tracking=local")
    first = Tracker(recipe)
    first.take([report(2, validation={"iou": 0.5}, pictures={"7": np.zeros((4, 4, 3), np.uint8)})])
    first.close("FAILED")
    again = Tracker(lines_recipe("log.tracking=local", "optimiser.lr=0.5"))
    again.take([report(4)])
    again.close()
    assert again.run == first.run
    client = MlflowClient(f"sqlite:///{recipe.storage}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("vglamm").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    data = runs[0].data
    assert data.tags[TAG] == "lines"
    assert data.params["optimiser.lr"] == "0.003"
    assert data.tags["changed.optimiser.lr"] == "0.5"
    assert data.metrics["train/loss"] == 2.0
    assert data.metrics["train/samples_per_second"] == 8.0
    assert data.metrics["train/right"] == 0.25
    assert data.metrics["validation/iou"] == 0.5
    assert [metric.step for metric in client.get_metric_history(first.run, "train/loss")] == [2, 4]
    assert [file.path for file in client.list_artifacts(first.run, "pictures")] == ["pictures/0000002-7.png"]


def test_runs_of_one_name_in_other_places_are_other_runs(lines_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = lines_recipe(f"log.tracking=sqlite:///{tmp_path}/books.db")
    first, other = Tracker(recipe), Tracker(replace(recipe, storage=str(tmp_path / "elsewhere")))
    assert first.run != other.run
    assert Tracker(recipe).run == first.run
    shutil.rmtree(recipe.folder)
    assert Tracker(recipe).run not in (first.run, other.run), "begun anew"
    books = lines_recipe(f"log.tracking=sqlite:///{tmp_path}/others.db")
    assert Tracker(books).run != first.run, "books that do not know the run"


def test_the_books_take_every_shipped_recipe(tmp_path: Path) -> None:
    for name in names():
        recipe = load(name, [f"storage={tmp_path}", "log.tracking=local"])
        tracker = Tracker(recipe)
        assert len(tracker.client.get_run(tracker.run).data.params) == len(flat(recipe.to_tree())), name


def test_books_that_stop_taking_anything_do_not_end_training(
    lines_recipe: Callable[..., Recipe], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = lines_recipe("log.tracking=local", "log.every=1", "steps=4")
    calls = []

    def locked(self: MlflowClient, *given: Any, **more: Any) -> None:
        calls.append(given)
        raise MlflowException("database is locked")

    monkeypatch.setattr(MlflowClient, "log_batch", locked)
    monkeypatch.setattr(MlflowClient, "set_terminated", locked)
    assert run_local(recipe).name == "step-0000004"
    assert len(calls) == 5
    assert "not in MLflow, but in the files of the run: the report of step 1 (" in caplog.text
    assert "its end, FINISHED" in caplog.text
    assert len(read(recipe.folder, "steps")) == 4


def test_a_server_that_does_not_answer_is_told_at_once_and_before_any_work(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("log.tracking=http://user:secret@127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(EnvironmentProblem, match="MLflow does not keep") as caught:
        run_local(recipe)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 15
    assert not list(recipe.folder.glob("*"))


def test_means_of_a_report() -> None:
    means = window(report(2))
    assert means["wait"] == 0.25
    assert means["samples_per_second"] == pytest.approx(8.0)
    assert window({"steps": [], "batch": 8}) == {}
