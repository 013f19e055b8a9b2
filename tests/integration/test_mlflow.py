"""A real MLflow server, over HTTP: the books of every driver, and weights from its registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.serving.endpoint import free_port, until
from ray_jobs.tracking import TAG, JobBooks, Tracker
from ray_jobs.train import recipes
from serve.tracking import Run, pinned, weights
from vglamm import checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. It keeps runs in SQLite and hands out artifacts itself, so that clients need no access to where they lie."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    uri = f"http://127.0.0.1:{port}"
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'books.db'}", "--artifacts-destination", str(folder / "kept")]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in until(240, "a server that answers", (folder / "log").read_text):
            if process.poll() is not None or _answers(f"{uri}/health"):
                break
        assert process.poll() is None, (folder / "log").read_text()
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_training_bulk_jobs_and_endpoints_keep_their_books_there(server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    recipe = recipes.load("tiny-words", [f"storage={tmp_path}"])
    recipe = replace(recipe, log=replace(recipe.log, tracking=server))
    for _ in range(2):  # the second goes on
        training = Tracker(recipe)
        training.close()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.txt").write_text("a mask")
    job = JobBooks(server, "vglamm-annotate", str(tmp_path / "out")).keep({"n": 1}, {"rows": {"ok": 3}}, tmp_path / "pictures")
    start = Run(server, tmp_path, "laptop-tiny", {"port": 8000}, {"model.tiny": "tiny@0123"})
    start.log({"requests": 3.0}, 1)
    start.close({"numbers": {"requests": 3.0}})
    client = MlflowClient(server)
    of_training, of_job, of_start = (client.get_run(run) for run in (training.run, job, start.id))
    assert (of_training.data.tags[TAG], of_training.data.params["steps"]) == ("tiny-words", "200")
    assert (of_job.data.metrics, of_start.data.metrics) == ({"rows.ok": 3.0}, {"requests": 3.0})
    assert [file.path for file in client.list_artifacts(job)] == ["pictures", "summary.json"]
    assert len(client.search_runs([of_training.info.experiment_id])) == 1
    assert not list(tmp_path.rglob("mlflow.db")), "nothing is kept here"


def test_weights_come_from_its_registry(server: str, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    client = MlflowClient(server)
    run = client.create_run(client.create_experiment("weights")).info.run_id
    client.log_artifacts(run, str(talker), "checkpoint")
    client.create_registered_model("night")
    client.create_model_version("night", f"{client.get_run(run).info.artifact_uri}/checkpoint", run)
    client.set_registered_model_alias("night", "champion", "1")
    assert pinned("models:/night@champion", server) == "models:/night/1"
    folder = Path(weights("models:/night@champion", server))
    assert folder.is_relative_to(tmp_path / "home" / ".cache" / "vglamm" / "registry")
    assert checkpoint.identity(folder) == checkpoint.identity(talker)
    assert weights("models:/night/1", server) == str(folder)
