"""MLflow: a run of the endpoint, and weights from a registry."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from serve import tracking
from serve.tracking import Run, pinned, weights
from tests import fakes
from vglamm import checkpoint
from vglamm.errors import CheckpointError, EnvironmentProblem


def test_a_run_has_its_settings_its_minutes_and_its_end(tmp_path):
    run = Run("local", tmp_path, "laptop-tiny", {"profile": {"name": "laptop", "replicas": [1, 2]}}, {"model.tiny": "tiny@0123"})
    run.log({"requests": 3.0, "replicas/pixel": 2.0}, 1)
    run.log({"requests": 5.0}, 2)
    run.close({"numbers": {"requests": 8.0}})
    found = run.client.get_run(run.id)
    assert found.data.params == {"profile.name": "laptop", "profile.replicas": "[1, 2]"}
    assert found.data.tags["model.tiny"] == "tiny@0123"
    assert found.data.metrics == {"requests": 5.0, "replicas/pixel": 2.0}
    assert [metric.value for metric in run.client.get_metric_history(run.id, "requests")] == [3.0, 5.0]
    assert found.info.status == "FINISHED"
    assert [file.path for file in run.client.list_artifacts(run.id)] == ["summary.json"]


def test_weights_come_from_a_registry_by_alias(tmp_path, monkeypatch):
    checkpoint.save(fakes.model(), tmp_path / "fake", tokenizer=fakes.tokenizer())
    books = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(books, books)
    experiment = client.create_experiment("weights", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, str(tmp_path / "fake"), "checkpoint")
    client.create_registered_model("night")
    client.create_model_version("night", f"{client.get_run(run).info.artifact_uri}/checkpoint", run)
    client.set_registered_model_alias("night", "champion", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", books)
    folder = weights("models:/night@champion", books)
    assert folder == str(tmp_path / "artifacts" / run / "artifacts" / "checkpoint"), "it is on this machine"
    assert checkpoint.identity(folder) == checkpoint.identity(tmp_path / "fake")
    assert pinned("models:/night@champion", books) == "models:/night/1"
    assert checkpoint.identity(weights("models:/night/1", books)) == checkpoint.identity(folder)
    for fails in (weights, pinned):
        with pytest.raises(CheckpointError, match="models:/night@nobody"):
            fails("models:/night@nobody", books)


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A registry that keeps its versions elsewhere. names: what was fetched. fails: errors that fetching ends with, each once."""
    checkpoint.save(fakes.model(), tmp_path / "fake", tokenizer=fakes.tokenizer())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    fetched = SimpleNamespace(names=[], fails=[])

    def download(*, artifact_uri, dst_path):
        fetched.names.append(artifact_uri)
        shutil.copytree(tmp_path / "fake", Path(dst_path, "checkpoint"))
        if fetched.fails:
            raise fetched.fails.pop()
        return dst_path

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    place = {"models:/night@champion": "s3://b/2", "models:/night/2": "s3://b/2", "models:/night/1": "s3://b/1"}
    monkeypatch.setattr(ModelsArtifactRepository, "get_underlying_uri", place.__getitem__)
    return fetched


def test_a_version_that_is_elsewhere_is_fetched_once(remote, tmp_path):
    folder = weights("models:/night/2")
    assert checkpoint.identity(folder) == checkpoint.identity(tmp_path / "fake")
    assert weights("models:/night@champion") == weights("models:/night/2") == folder != weights("models:/night/1")
    assert remote.names == ["models:/night/2", "models:/night/1"]
    cache = tmp_path / "home" / ".cache" / "vglamm" / "registry"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert Path(folder).is_relative_to(cache)


def test_parts_that_start_together_fetch_a_version_once(remote):
    together = threading.Barrier(4)

    def start(_):
        together.wait(60)
        return weights("models:/night/2")

    with ThreadPoolExecutor(4) as parts:
        assert len(set(parts.map(start, range(4)))) == 1
    assert remote.names == ["models:/night/2"]


def test_a_version_that_came_in_part_is_not_there(remote, tmp_path):
    remote.fails.append(OSError("broke off"))
    with pytest.raises(CheckpointError, match="models:/night/2"):
        weights("models:/night/2")
    assert [path.suffix for path in (tmp_path / "home" / ".cache" / "vglamm" / "registry").iterdir()] == [".lock"]
    assert checkpoint.identity(weights("models:/night/2")) == checkpoint.identity(tmp_path / "fake")


def test_weights_are_not_taken_from_a_folder_of_another_user(remote, monkeypatch):
    weights("models:/night/2")
    own = tracking.os.geteuid()
    monkeypatch.setattr(tracking.os, "geteuid", lambda: own + 1)
    with pytest.raises(EnvironmentProblem, match=f"user {own}"):
        weights("models:/night/2")


@pytest.mark.parametrize("source", ["tiny", "owner/name@main", "models:/night/3"])
def test_anything_else_is_left_alone(source):
    assert pinned(source) == source
    assert source.startswith("models:/") or weights(source) == source


def test_books_that_cannot_be_reached_are_an_error_of_ours(tmp_path, monkeypatch):
    run = Run("local", tmp_path, "r", {}, {})

    def lost(*_, **__):
        raise mlflow.exceptions.MlflowException("no connection")

    monkeypatch.setattr(run.client, "log_batch", lost)
    with pytest.raises(EnvironmentProblem, match="MLflow"):
        run.log({"a": 1.0}, 1)
