from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from ray_jobs.recipes import Recipe
from ray_jobs.tracking import TAG, Tracker, window


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


def test_means_of_a_report() -> None:
    means = window(report(2))
    assert means["wait"] == 0.25
    assert means["samples_per_second"] == pytest.approx(8.0)
    assert window({"steps": [], "batch": 8}) == {}
