"""A bulk job in MLflow: one run with its settings, its numbers and its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ray_jobs.tracking import track_job

# MLflow's own use of sqlalchemy
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning")


def test_numbers_and_files_of_an_evaluation(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# MeViS\n")
    found = {"cases": 3, "corrected/gt_viou@0.3": 40.5, "refcoco+/giou": 1.0}
    run = track_job("local", "vglamm-evaluate", str(tmp_path / "out"), {"task": "vidstg"}, found, files=(report,))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    data = client.get_run(run).data
    assert data.params == {"task": "vidstg"}
    assert data.metrics == {"cases": 3, "corrected/gt_viou_0.3": 40.5, "refcoco_/giou": 1.0}
    assert {file.path for file in client.list_artifacts(run)} == {"report.md", "summary.json"}
