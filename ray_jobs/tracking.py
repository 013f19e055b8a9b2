"""MLflow, from one place: parameters, metrics and pictures of a run, by one run id. The only file that imports mlflow.

It runs where reports arrive (this process with ``--local``, else Ray Train's controller): logging from workers makes several runs
(mlflow issue 7206). Which MLflow run is that of a run stands in its folder, so that it is gone on with when the run is.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from vglamm import books
from vglamm.errors import EnvironmentProblem

if TYPE_CHECKING:
    from ray_jobs.train.recipes import Recipe

log = logging.getLogger(__name__)
TAG, RUN = "vglamm.run", "mlflow-run"
"""The name of a run as a tag of MLflow's; the file in a run's folder that holds the id which MLflow gave it."""
_FOREIGN = re.compile(r"[^\w./ -]")
"""What MLflow does not take in a name, such as the @ of a threshold or the + of refcoco+."""


class Tracker:
    """One MLflow run. ``log.tracking`` says where: "local" is ``mlflow.db`` (SQLite) in the storage folder.

    EnvironmentProblem if the books cannot be opened. Once they are, what they do not take is logged and training goes on: the
    files of the run have all of it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.mlflow, storage = _mlflow(), Path(recipe.storage).resolve()
        self.client, experiment = books.opened(self.mlflow, recipe.log.tracking, storage, recipe.log.experiment)
        with books.kept(self.mlflow):
            self.run = self._run(recipe, experiment)

    def _run(self, recipe: Recipe, experiment: str) -> str:
        file = recipe.folder / RUN
        known: dict[str, str] = {}
        run = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        try:
            known = self.client.get_run(run).data.params if run else {}
        except self.mlflow.exceptions.MlflowException:  # it was deleted there, or these are other books
            run = ""
        if run:
            self.client.set_terminated(run, "RUNNING")
        else:
            run = str(self.client.create_run(experiment, tags={TAG: recipe.name}, run_name=recipe.name).info.run_id)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(run + "\n", encoding="utf-8")
        for key, value in books.flat(recipe.to_tree()).items():
            name = _FOREIGN.sub("_", key)
            if name not in known:
                self.client.log_param(run, name, value)
            elif known[name] != value:
                self.client.set_tag(run, f"changed.{name}", value)  # parameters cannot change; a resumed run's can
        return run

    def take(self, reports: list[dict[str, Any]]) -> None:
        """Means over the steps of a report, its validation metrics and its pictures."""
        with self._at_best(f"the report of step {reports[0]['step']}"):
            self._take(reports)

    def _take(self, reports: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        first, now = reports[0], int(time.time() * 1000)
        values = {f"train/{name}": value for name, value in window(first).items()}
        values |= {f"validation/{name}": value for name, value in first.get("validation", {}).items()}
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, first["step"]) for name, value in values.items()])
        for name, pixels in first.get("pictures", {}).items():
            self.client.log_image(self.run, pixels, artifact_file=f"pictures/{first['step']:07d}-{name}.png")

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        with self._at_best(f"its end, {status}"):
            self.client.set_terminated(self.run, status)

    @contextlib.contextmanager
    def _at_best(self, what: str) -> Iterator[None]:
        try:
            with books.kept(self.mlflow):
                yield
        except EnvironmentProblem as problem:
            log.warning("not in MLflow, but in the files of the run: %s (%s)", what, problem)


@contextlib.contextmanager
def tracked(recipe: Recipe) -> Iterator[Tracker | None]:
    """The books of a run for as long as it runs; how that ends is written there. None where nothing is tracked. Opened before any
    work is done, so that books that cannot be kept cost none."""
    if recipe.log.tracking == "off":
        yield None
        return
    tracker, status = Tracker(recipe), "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.close(status)


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
