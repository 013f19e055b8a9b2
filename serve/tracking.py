"""MLflow, the only file of the endpoint that imports it: a run for each start, and weights from its registry."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vglamm import books
from vglamm.errors import CheckpointError, EnvironmentProblem

log = logging.getLogger(__name__)
REGISTRY = "models:/"


def weights(source: str, registry: str | None = None) -> str:
    """The checkpoint that ``source`` names: itself, or a local copy of ``models:/NAME@ALIAS`` (or ``/VERSION``) of a registry,
    fetched once to ``~/.cache/vglamm/registry``; what the registry keeps on this machine is used where it is. CheckpointError if it
    cannot be had, EnvironmentProblem if the cache cannot be used."""
    if not source.startswith(REGISTRY):
        return source
    mlflow = _mlflow()
    try:
        if registry is not None:
            mlflow.set_registry_uri(registry)
        folder = _fetched(mlflow, source)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise CheckpointError(
            f"nothing at {source} ({type(error).__name__})", "a version of a registered model", "check name, alias and registry"
        ) from error
    found = sorted(folder.rglob("config.json"), key=lambda path: len(path.parts))
    found = [path for path in found if (path.parent / "pixel.safetensors").is_file()]
    if not found:
        raise CheckpointError(f"{source} without a checkpoint", "a folder as `vglamm convert` writes", "register such a folder")
    return str(found[0].parent)


def _fetched(mlflow: Any, source: str) -> Path:
    """The folder of a registered version. Parts that start together on one machine fetch it once, the others wait for the first."""
    models = mlflow.store.artifact.models_artifact_repo.ModelsArtifactRepository
    root, below = models.split_models_uri(source)
    where = models.get_underlying_uri(root)
    if urlsplit(where).scheme in ("", "file"):
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=source))
    cache = _cache()
    folder = cache / hashlib.sha256(f"{mlflow.get_registry_uri()} {where} {below}".encode()).hexdigest()[:32]
    with open(cache / f"{folder.name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
        try:
            log.info("fetching %s", source)
            mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(partial))
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _cache() -> Path:
    """Where fetched versions are, of this user alone: weights are trusted as they lie there."""
    try:
        folder = Path.home() / ".cache" / "vglamm" / "registry"
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner == os.geteuid():
            folder.chmod(0o700)
            return folder
    except (OSError, RuntimeError) as error:  # the latter for a user without a home
        raise EnvironmentProblem(
            f"no cache for a registry's weights ({error})", "~/.cache/vglamm/registry", "set HOME to a folder that can be written"
        ) from error
    raise EnvironmentProblem(f"{folder}, which is user {owner}'s", "one of this user", "remove it, or set HOME to another folder")


def pinned(source: str, registry: str | None = None) -> str:
    """``models:/NAME@ALIAS`` as ``models:/NAME/VERSION``, so that all parts, whenever their replicas start, load one version."""
    name, at, alias = source.removeprefix(REGISTRY).rpartition("@")
    if not source.startswith(REGISTRY) or not at:
        return source
    mlflow = _mlflow()
    try:
        version = mlflow.MlflowClient(registry_uri=registry).get_model_version_by_alias(name, alias).version
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise CheckpointError(
            f"nothing at {source} ({type(error).__name__})", "a version of a registered model", "check name, alias and registry"
        ) from error
    return f"{REGISTRY}{name}/{version}"


class Run:
    """One MLflow run. uri: "local" (``mlflow.db`` in ``folder``) or a server's."""

    def __init__(self, uri: str, folder: Path, name: str, settings: dict[str, Any], tags: dict[str, str]) -> None:
        mlflow = _mlflow()
        self.client, experiment = books.opened(mlflow, uri, folder, "vglamm-serve")
        with books.kept(mlflow):
            self.id: str = self.client.create_run(experiment, tags=tags, run_name=name).info.run_id
            for key, value in books.flat(settings).items():
                self.client.log_param(self.id, key, value)

    def log(self, numbers: dict[str, float], step: int) -> None:
        """EnvironmentProblem if the books cannot be reached."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with books.kept(_mlflow()):
            self.client.log_batch(self.id, metrics=[Metric(name, value, now, step) for name, value in numbers.items()])

    def close(self, summary: dict[str, Any], status: str = "FINISHED") -> None:
        """As :meth:`log`."""
        with books.kept(_mlflow()):
            self.client.log_dict(self.id, summary, "summary.json")
            self.client.set_terminated(self.id, status)


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise EnvironmentProblem("no mlflow", "the package", "pip install 'vglamm[serve]', or turn tracking off") from error
    return mlflow
