"""MLflow, from one place: parameters, metrics and pictures of a run, by one run id. The only file that imports mlflow.

It runs where reports arrive (this process with ``--local``, else Ray Train's controller): logging from workers makes several runs
(mlflow issue 7206). A run that is resumed by name goes on in the MLflow run that bears the name as a tag.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from vglamm import books
from vglamm.errors import EnvironmentProblem

if TYPE_CHECKING:
    from ray_jobs.recipes import Recipe

log = logging.getLogger(__name__)
TAG = "vglamm.run"
_FOREIGN = re.compile(r"[^\w./ -]")
"""What MLflow does not take in the name of a metric, such as the @ of a threshold."""


class Tracker:
    """One MLflow run. ``log.tracking`` says where: "local" is ``mlflow.db`` (SQLite) in the storage folder."""

    def __init__(self, recipe: Recipe) -> None:
        storage = Path(recipe.storage).resolve()
        self.client, experiment = books.opened(_mlflow(), recipe.log.tracking, storage, recipe.log.experiment)
        self.run = self._run(recipe, experiment)

    def _run(self, recipe: Recipe, experiment: str) -> str:
        same = self.client.search_runs([experiment], f"tags.`{TAG}` = '{recipe.name}'", max_results=1)
        if same:
            run, known = same[0].info.run_id, same[0].data.params
            self.client.set_terminated(run, "RUNNING")
        else:
            run, known = self.client.create_run(experiment, tags={TAG: recipe.name}, run_name=recipe.name).info.run_id, {}
        for name, value in books.flat(recipe.to_tree()).items():
            if name not in known:
                self.client.log_param(run, name, value)
            elif known[name] != value:
                self.client.set_tag(run, f"changed.{name}", value)  # parameters cannot change; a resumed run's can
        return run

    def take(self, reports: list[dict[str, Any]]) -> None:
        """Means over the steps of a report, its validation metrics and its pictures."""
        from mlflow.entities import Metric

        first, now = reports[0], int(time.time() * 1000)
        values = {f"train/{name}": value for name, value in window(first).items()}
        values |= {f"validation/{name}": value for name, value in first.get("validation", {}).items()}
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, first["step"]) for name, value in values.items()])
        for name, pixels in first.get("pictures", {}).items():
            self.client.log_image(self.run, pixels, artifact_file=f"pictures/{first['step']:07d}-{name}.png")

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run, status)


def window(report: dict[str, Any]) -> dict[str, float]:
    """Means over a report's steps, and samples per second."""
    steps = report["steps"]
    if not steps:
        return {}
    names = dict.fromkeys(name for step in steps for name in step if name != "step")  # a step may lack a term
    means = {name: fmean(step[name] for step in steps if name in step) for name in names}
    return means | {"samples_per_second": report["batch"] / max(means["seconds"], 1e-9)}


class JobBooks:
    """Where a bulk job will be kept: opened before it begins, so that books that cannot be kept cost no work.

    uri: "local" (``mlflow.db`` beside the job's folder ``name``), "off", or a server's. EnvironmentProblem if there are none.
    """

    def __init__(self, uri: str, experiment: str, name: str) -> None:
        self.name, self.open = name, uri != "off"
        if self.open:
            folder = Path(name).resolve().parent if "://" not in name else Path.cwd()
            self._client, self._experiment = books.opened(_mlflow(), uri, folder, experiment)

    def keep(
        self, settings: dict[str, Any], summary: dict[str, Any], pictures: Path | None = None, files: Sequence[Path] = ()
    ) -> str | None:
        """One MLflow run: the job's settings, the numbers of its summary, the summary itself, sample pictures and ``files``.
        Returns the run's id. EnvironmentProblem if it cannot be kept."""
        if not self.open:
            return None
        client, name = self._client, self.name.rstrip("/").rsplit("/", 1)[-1]
        with books.kept(_mlflow()):
            run: str = client.create_run(self._experiment, tags={TAG: self.name}, run_name=name).info.run_id
            for key, value in books.flat(settings).items():
                client.log_param(run, key, value)
            for key, value in books.flat(summary).items():
                with contextlib.suppress(ValueError):
                    client.log_metric(run, _FOREIGN.sub("_", key.replace(":", ".")), float(value))
            client.log_dict(run, summary, "summary.json")
            if pictures is not None:
                client.log_artifacts(run, str(pictures), "pictures")
            for file in files:
                client.log_artifact(run, str(file))
            client.set_terminated(run, "FINISHED")
        return run


def _mlflow() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise EnvironmentProblem("no mlflow", "the package", "pip install 'vglamm[train]', or turn tracking off") from error
    return mlflow
