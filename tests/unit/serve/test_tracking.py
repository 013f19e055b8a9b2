"""MLflow: a run of the endpoint, and weights from a registry."""

import mlflow
import pytest

from serve.tracking import Run, flat, pinned, weights
from tests import fakes
from vglamm import checkpoint
from vglamm.errors import CheckpointError, EnvironmentProblem

# MLflow's own use of sqlalchemy
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:sqlalchemy.exc.SADeprecationWarning")


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


def test_weights_come_from_a_registry_by_alias(tmp_path):
    checkpoint.save(fakes.model(), tmp_path / "fake", tokenizer=fakes.tokenizer())
    books = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(books, books)
    experiment = client.create_experiment("weights", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, str(tmp_path / "fake"), "checkpoint")
    client.create_registered_model("night")
    client.create_model_version("night", f"{client.get_run(run).info.artifact_uri}/checkpoint", run)
    client.set_registered_model_alias("night", "champion", "1")
    mlflow.set_tracking_uri(books)
    folder = weights("models:/night@champion", books)
    assert checkpoint.identity(folder) == checkpoint.identity(tmp_path / "fake")
    assert pinned("models:/night@champion", books) == "models:/night/1"
    assert checkpoint.identity(weights("models:/night/1", books)) == checkpoint.identity(folder)
    for fails in (weights, pinned):
        with pytest.raises(CheckpointError, match="models:/night@nobody"):
            fails("models:/night@nobody", books)


@pytest.mark.parametrize("source", ["tiny", "owner/name@main", "models:/night/3"])
def test_anything_else_is_left_alone(source):
    assert pinned(source) == source
    assert source.startswith("models:/") or weights(source) == source


def test_books_hold_no_password():
    args = {"tracking": "https://me:pass@books:5000/x", "models": {"a": "https://h/m?sig=pass"}, "spool": "s3://b/s?key=pass"}
    assert flat({"args": args}) == {
        "args.tracking": "https://books:5000/x",
        "args.models.a": "https://h/m",
        "args.spool": "s3://b/s",
    }
    assert flat({"said": "e@mail, what? and models:/night@champion"}) == {"said": "e@mail, what? and models:/night@champion"}


def test_books_that_cannot_be_reached_are_an_error_of_ours(tmp_path, monkeypatch):
    run = Run("local", tmp_path, "r", {}, {})

    def lost(*_, **__):
        raise mlflow.exceptions.MlflowException("no connection")

    monkeypatch.setattr(run.client, "log_batch", lost)
    with pytest.raises(EnvironmentProblem, match="MLflow"):
        run.log({"a": 1.0}, 1)
