"""The books of a run, which the drivers keep in MLflow: where they are, and settings as they stand there. MLflow is handed in."""

from __future__ import annotations

import fcntl
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from vglamm.errors import EnvironmentProblem

LOCAL = "local"
_LONGEST, _PATIENCE = 500, 15.0
_USER, _QUERY = re.compile(r"(?<=://)[^\s/'\"]*@"), re.compile(r"(?<=://)([^\s?'\"]*)\?[^\s'\"]*")


def opened(mlflow: Any, uri: str, folder: Path, experiment: str) -> tuple[Any, str]:
    """(client, id of the experiment, which is made if it is not there).

    uri: "local" (``mlflow.db``, SQLite, in ``folder``, with artifacts beside it) or a server's. Runs that start together, as the
    first stages of the tiny model or the shares of a job do, open the same books. EnvironmentProblem if they cannot be.
    """
    with kept(mlflow):
        return _opened(mlflow, uri, folder, experiment)


@contextmanager
def kept(mlflow: Any) -> Iterator[None]:
    """EnvironmentProblem for whatever keeps the books from being opened or written."""
    try:
        yield
    except (mlflow.exceptions.MlflowException, OSError) as error:
        told = bare(str(error).strip().partition("\n")[0])[:_LONGEST]
        raise EnvironmentProblem(
            f"books of the run that MLflow does not keep ({type(error).__name__}: {told})",
            "local, off, or a server that answers; a folder is written sqlite:///FOLDER/mlflow.db",
            "see to --tracking, or to MLFLOW_TRACKING_URI, which stands for it",
        ) from error


def _opened(mlflow: Any, uri: str, folder: Path, experiment: str) -> tuple[Any, str]:
    if uri != LOCAL:
        _reached(uri)
        client = mlflow.MlflowClient(uri)
        return client, _experiment(mlflow, client, experiment, None)
    folder.mkdir(parents=True, exist_ok=True)
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with _alone(folder / "mlflow.db.lock"):  # two that make MLflow's tables at the same time both fail
        client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        return client, _experiment(mlflow, client, experiment, (folder / "mlflow").as_uri())


def _reached(uri: str) -> None:
    """OSError for a server that does not answer: MLflow itself would go on trying for minutes."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return
    try:
        urlopen(bare(uri), timeout=_PATIENCE).close()
    except HTTPError:
        return  # it answers; whether it lets us in is told by what follows


def _experiment(mlflow: Any, client: Any, name: str, artifacts: str | None) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=artifacts))
    except mlflow.exceptions.MlflowException:
        if found := client.get_experiment_by_name(name):  # another made it meanwhile
            return str(found.experiment_id)
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings -> dotted names and short texts, as MLflow's parameters are, without what addresses in them should hide."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = bare(str(value))[:_LONGEST]
    return found


def bare(text: str) -> str:
    """A text without the names, passwords and queries of the addresses in it: books are read by many."""
    return _QUERY.sub(r"\1", _USER.sub("", text))
