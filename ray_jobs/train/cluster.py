"""A run on Ray: Ray Train (V2) workers with DeepSpeed inside, each streaming its samples from Ray Data tasks.

Records, tracking and failures are written in one place, Ray Train's controller; the driver only shows them.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.train import (
    Checkpoint,
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer

from ray_jobs.tracking import Tracker, tracked
from ray_jobs.train import kept, record
from ray_jobs.train.progress import Display
from ray_jobs.train.recipes import Recipe
from ray_jobs.train.record import Record
from ray_jobs.train.store import latest, prune
from vglamm.config import from_tree
from vglamm.errors import CheckpointError, ConfigError, CorpusError, DialogueError, VglammError, WorkerLost

log = logging.getLogger(__name__)

_FINAL = (ConfigError, CorpusError, DialogueError)  # mistakes in a recipe or its data: the next attempt would make them again


def run_on_ray(recipe: Recipe) -> Path:
    """The whole run on the Ray that this process is connected to (a new local one if none); a run of that name is taken up where it
    stopped. ``storage`` must be a path that all nodes share."""
    import ray

    recipe = replace(recipe, storage=str(Path(recipe.storage).resolve()))
    if latest(recipe.folder) is not None:
        kept.check(recipe)
    with tracked(recipe):
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        _fits(recipe, ray.cluster_resources())
        _run_there(recipe)
    last = latest(recipe.folder)
    if last is None:
        raise CheckpointError(f"{recipe.name} without a checkpoint", "one at the end of a run", "look at the errors above")
    prune(recipe.folder, recipe.checkpoints.keep)
    return last


def _run_there(recipe: Recipe) -> None:
    # What Ray Train remembers of the checkpoints: it does not start where one of them is gone, and a run may have gone on without
    # Ray meanwhile. Where a run goes on is for `latest` to say.
    (recipe.folder / "checkpoint_manager_snapshot.json").unlink(missing_ok=True)
    prune(recipe.folder, recipe.checkpoints.keep)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=recipe.to_tree(),
        torch_config=TorchConfig(backend="nccl" if recipe.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=recipe.workers, use_gpu=recipe.gpu, resources_per_worker=_resources(recipe)),
        run_config=RunConfig(
            name=recipe.name,
            storage_path=recipe.storage,
            failure_config=FailureConfig(max_failures=recipe.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=recipe.checkpoints.keep),
            callbacks=[Controller(recipe)],
        ),
    )
    done = threading.Event()
    follower = threading.Thread(target=follow, args=(recipe, done), daemon=True)
    follower.start()
    try:
        fit(trainer)
    finally:
        done.set()
        follower.join()


def fit(trainer: Any) -> None:
    """``trainer.fit()`` with ends of our own.

    Ray Train answers Ctrl-C by leaving the process as if all was done: here it is a KeyboardInterrupt, and its handler does not
    stay. An error of ours or of the machine (a full disk, no memory) that ended the run on a worker or in the controller is raised
    as it was there; a worker that died is WorkerLost.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except SystemExit as end:
        raise KeyboardInterrupt from end
    except WorkerGroupError as error:
        failures = error.worker_failures
        for failure in failures.values():
            if isinstance(failure, VglammError):
                raise failure from error
        if dead := [rank for rank, failure in sorted(failures.items()) if _of_ray(failure)]:
            raise WorkerLost(  # what the others failed with is that they lost it
                f"workers that died (rank {', '.join(map(str, dead))}), more often than max_failures",
                "workers that live to the end",
                "see failures.jsonl of the run; often memory is short: smaller batches or a higher zero. The same command goes on",
            ) from error
        for failure in failures.values():
            if _of_the_machine(failure):
                raise failure from error
        raise
    except ControllerError as error:
        if isinstance(error.controller_failure, VglammError) or _of_the_machine(error.controller_failure):
            raise error.controller_failure from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _of_ray(failure: BaseException) -> bool:
    return type(failure).__module__.partition(".")[0] == "ray"


def _of_the_machine(failure: BaseException) -> bool:
    """A full disk, a folder that cannot be written, no memory: with ``--local`` these are told in one line as well."""
    return isinstance(failure, OSError | MemoryError) or "out of memory" in str(failure)


def _resources(recipe: Recipe) -> dict[str, float]:
    return {"CPU": recipe.cpus} | ({"GPU": 1} if recipe.gpu else {})


def _fits(recipe: Recipe, has: dict[str, float]) -> None:
    """Workers that take every CPU would wait for ever for samples that no CPU is left to prepare (ray issue 44687)."""
    needs = recipe.workers * recipe.cpus + 1
    if has.get("CPU", 0) < needs:
        raise ConfigError(
            f"a Ray with {has.get('CPU', 0):g} CPUs for {recipe.workers} workers of {recipe.cpus:g}",
            f"at least {needs:g}: one is for preparing samples",
            "fewer workers, a smaller `cpus`, or more nodes",
        )
    if recipe.gpu and has.get("GPU", 0) < recipe.workers:
        raise ConfigError(
            f"a Ray with {has.get('GPU', 0):g} GPUs", f"{recipe.workers}, one for each worker", "fewer workers or gpu=false"
        )


class Controller(UserCallback):
    """Lives in Ray Train's controller: every rank's reports arrive here, and here alone are records and metrics written."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.takers = recipe, []

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            for taker in self._opened():
                taker.take(metrics)

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        lines = [json.dumps({"rank": rank, "error": str(error)}) for rank, error in sorted(worker_exceptions.items())]
        self.recipe.folder.mkdir(parents=True, exist_ok=True)
        with (self.recipe.folder / "failures.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        for error in worker_exceptions.values():
            if isinstance(error, _FINAL):
                raise error  # an error of the controller, which Ray Train does not try again

    def _opened(self) -> list[Any]:
        if not self.takers:
            kept.keep(self.recipe)
            self.takers = [Record(self.recipe), *([] if self.recipe.log.tracking == "off" else [Tracker(self.recipe)])]
        return self.takers


def train_worker(tree: dict[str, Any]) -> None:
    """One rank: everything heavy is imported here."""
    recipe = from_tree(Recipe, tree)
    if not recipe.gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed looks for an accelerator when it is imported
    import ray.train
    import torch

    from ray_jobs.train import ingest, run, store, zero
    from ray_jobs.train.loop import Loop
    from ray_jobs.train.precision import settled

    torch.set_num_threads(recipe.threads)
    ranks = Reporting(zero.Group())
    found = store.latest(recipe.folder)  # the same on every rank: nothing is written between two reports
    device = ray.train.torch.get_device() if recipe.gpu else torch.device("cpu")
    recipe = settled(recipe, device, ranks)
    tokenizer, objective, state = run.prepared(recipe, found)
    engine = zero.ZeroEngine(objective.to(device), recipe, device)
    if found is not None:
        engine.load(found)
    preparer = objective.preparer()
    plan = ingest.micro_batches(recipe, step=state.step, consumed=state.consumed, rank=ranks.rank)
    feed = ingest.streamed(preparer, plan, producers=max(recipe.data.producers, 1), prefetch=recipe.data.prefetch)
    held_out = [preparer(i) for i in run.held_out_ids(recipe, ranks.rank, ranks.world)] if recipe.validation.every else []

    def keep(target: Path, now: Any) -> None:
        run.write_checkpoint(objective, engine, tokenizer, target, now)

    Loop(recipe, objective, engine, feed, ranks, state, held_out, keep).run()


class Reporting:
    """``Ranks`` of a Ray Train worker."""

    def __init__(self, group: Any) -> None:
        self.group, self.rank, self.world = group, group.rank, group.world
        self.sum, self.gather = group.sum, group.gather

    def report(self, report: dict[str, Any], write: Callable[[Path], None] | None, step: int) -> None:
        """Ray merges the folders of all ranks into one in storage and keeps the latest ones."""
        import ray.train

        from ray_jobs.train.store import folder_name

        ray.train.report(report)
        if write is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            # Ray keeps the metrics of a checkpoint as JSON, so the report itself goes apart
            ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(folder), checkpoint_dir_name=folder_name(step))


def follow(recipe: Recipe, done: threading.Event, interval: float = 2.0) -> None:
    """Show on this terminal what the controller records from now on, until ``done``."""
    display, steps, checks = Display(recipe.name), record.Tail(recipe.folder, "steps"), record.Tail(recipe.folder, "validation")
    try:
        ended = False
        while not ended:
            ended = done.wait(interval)
            for line in checks.new():
                metrics = {name: value for name, value in line.items() if name != "step"}
                display.take([_seen(recipe, line["step"], [], validation=metrics)])
            if lines := steps.new():
                display.take([_seen(recipe, lines[-1]["step"] + 1, lines)])
    finally:
        display.close()


def _seen(recipe: Recipe, step: int, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"step": step, "total": recipe.steps, "batch": recipe.global_batch, "steps": steps, **more}
