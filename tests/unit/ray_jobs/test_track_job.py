"""A bulk job in MLflow: one run with its settings, its numbers and its files."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from ray_jobs.tracking import JobBooks
from vglamm.errors import EnvironmentProblem


def test_numbers_and_files_of_an_evaluation(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# MeViS\n")
    found = {"cases": 3, "corrected/gt_viou@0.3": 40.5, "refcoco+/giou": 1.0}
    run = JobBooks("local", "vglamm-evaluate", str(tmp_path / "out")).keep({"task": "vidstg"}, found, files=(report,))
    assert run
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    data = client.get_run(run).data
    assert data.params == {"task": "vidstg"}
    assert data.metrics == {"cases": 3, "corrected/gt_viou_0.3": 40.5, "refcoco_/giou": 1.0}
    assert {file.path for file in client.list_artifacts(run)} == {"report.md", "summary.json"}


def test_books_that_stop_taking_anything_are_told_and_named_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = JobBooks("local", "vglamm-annotate", str(tmp_path / "out"))

    def lost(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("no answer from http://me:secret@books:5000/api?token=secret\nmore")

    monkeypatch.setattr(MlflowClient, "log_dict", lost)
    with pytest.raises(EnvironmentProblem, match="no answer from http://books:5000/api") as caught:
        kept.keep({}, {})
    assert "secret" not in str(caught.value)
