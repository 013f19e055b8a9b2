"""The training loop, the same in one process and on many ranks: it knows neither Ray nor DeepSpeed nor MLflow.

A step: collate its micro-batches, add up over all ranks what the sums are divided by, forward and backward each, update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ray_jobs.engine import Engine, learning_rate
from ray_jobs.ingest import Feed, Item
from ray_jobs.recipes import Recipe
from ray_jobs.store import State
from vglamm.errors import ConfigError
from vglamm.freeze import set_modes

Report = dict[str, Any]


class Ranks(Protocol):
    """The other processes of the run."""

    rank: int
    world: int

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks; every rank must call it."""

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order; every rank must call it."""

    def report(self, report: Report, write: Callable[[Path], None] | None, step: int) -> None:
        """Hand a report to whoever keeps records. ``write``: fills the folder of a checkpoint of ``step``. A barrier."""


class Alone:
    """``Ranks`` of a single process."""

    rank, world = 0, 1

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def gather(self, value: Any) -> list[Any]:
        return [value]


@dataclass
class Loop:
    """One rank's part of a run. ``keep(folder, state)`` fills a checkpoint folder (all ranks call it); ``stop`` is asked after each
    step and, if true on rank 0, ends the run with a checkpoint."""

    recipe: Recipe
    objective: Any
    engine: Engine
    feed: Feed
    ranks: Ranks
    state: State
    held_out: list[Item]
    keep: Callable[[Path, State], None]
    stop: Callable[[], bool] = lambda: False
    window: list[dict[str, Any]] = field(default_factory=list)
    samples: list[tuple[int, list[int]]] = field(default_factory=list)

    def run(self) -> State:
        """To the last step, or until asked to stop; returns how far it came."""
        recipe, saved = self.recipe, time.monotonic()
        step = self.state.step
        if step == 0 and recipe.validation.every:
            self._report(step, validate=True, save=False)
        while step < recipe.steps:
            minutes = (time.monotonic() - saved) / 60
            timed = 0 < recipe.checkpoints.minutes <= minutes
            save_now, stop_now = self._step(step, timed, self.stop())
            step += 1
            self.state = State(step, self.state.consumed + recipe.global_batch)
            last = step == recipe.steps or stop_now
            save = last or save_now or _due(step, recipe.checkpoints.every)
            validate = bool(recipe.validation.every) and (step == recipe.steps or _due(step, recipe.validation.every))
            if save or validate or _due(step, recipe.log.every):
                self._report(step, validate, save)
            if save:
                saved = time.monotonic()
            if stop_now:
                break
        self.feed.close()
        return self.state

    def _step(self, step: int, save: bool, stop: bool) -> tuple[bool, bool]:
        """One step. The wishes of rank 0 to save and to stop travel with the totals, so that all ranks agree."""
        begun, waited = time.perf_counter(), 0.0
        batches, counts, seen = [], None, []
        for _ in range(self.recipe.batch.accumulation):
            before = time.perf_counter()
            ids, items = next(self.feed)
            waited += time.perf_counter() - before
            batch = self.objective.collate(items)
            counted = self.objective.count(batch).double()
            counts = counted if counts is None else counts + counted
            batches.append(_moved(batch, self.engine.device))
            seen.extend(ids)
        assert counts is not None
        first = self.ranks.rank == 0
        shared = self.ranks.sum(torch.cat([counts.cpu(), torch.tensor([save and first, stop and first], dtype=torch.float64)]))
        totals = shared[:-2].float().to(self.engine.device)
        terms: list[dict[str, Tensor]] = []
        for m, batch in enumerate(batches):
            torch.manual_seed(hash((self.recipe.seed, step, m, self.ranks.rank)))  # dropout of a resumed step is that of the step
            terms.append(self._micro_batch(batch, totals))
        norm = self.engine.step(step)
        self.samples.append((step, seen))
        self.window.append({"step": step, "terms": terms, "norm": norm, "wait": waited, "seconds": time.perf_counter() - begun})
        return bool(shared[-2]), bool(shared[-1])

    def _micro_batch(self, batch: Any, totals: Tensor) -> dict[str, Tensor]:
        terms = self.engine.forward(batch, totals)
        self.engine.backward(terms["loss"])
        return {name: value.detach() for name, value in terms.items()}

    def _report(self, step: int, validate: bool, save: bool) -> None:
        report: Report = {"rank": self.ranks.rank, "step": step, "total": self.recipe.steps, "batch": self.recipe.global_batch}
        report["samples"], self.samples = self.samples, []
        report["steps"] = self._lines()
        if validate:
            report |= self._validate()
        self.ranks.report(report, (lambda folder: self.keep(folder, self.state)) if save else None, step)

    def _lines(self) -> list[dict[str, float]]:
        """The window's steps over all ranks; a loss or norm that is no number ends the run."""
        mine = [[{name: float(value) for name, value in part.items()} for part in entry["terms"]] for entry in self.window]
        window, self.window, everyone = self.window, [], self.ranks.gather(mine)
        out = []
        for i, entry in enumerate(window):
            terms = joined([part for rank in everyone for part in rank[i]], getattr(self.objective, "summed", ()))
            line = {"step": entry["step"], **terms, "norm": entry["norm"]}
            if not (math.isfinite(line["loss"]) and math.isfinite(line["norm"])):
                raise ConfigError(
                    f"{line} in training", "finite numbers", "lower optimiser.lr, or look at the samples of this step"
                )
            rate = self.recipe.optimiser.lr * learning_rate(self.recipe.optimiser, self.recipe.steps, entry["step"])
            out.append({**line, "lr": rate, "wait": entry["wait"], "seconds": entry["seconds"]})
        return out

    def _validate(self) -> Report:
        """Metrics over the held-out items, in eval mode and without gradients: means over items, by the chunks of all ranks."""
        self.objective.eval()
        size, shares = self.recipe.batch.per_worker, []
        with torch.random.fork_rng(), torch.no_grad():
            for i in range(0, len(self.held_out), size):
                chunk = self.held_out[i : i + size]
                shares.append((len(chunk), self.objective.validate(chunk)))
            wanted = self.recipe.validation.pictures if self.ranks.rank == 0 and hasattr(self.objective, "pictures") else 0
            pictures = self.objective.pictures(self.held_out[:wanted]) if wanted else {}
        set_modes(self.objective)
        return {"validation": means([share for part in self.ranks.gather(shares) for share in part]), "pictures": pictures}


def joined(parts: list[dict[str, float]], summed: Sequence[str]) -> dict[str, float]:
    """Terms of all micro-batches and ranks of a step: "loss" and those in ``summed`` are shares of a global sum and add up; others
    (accuracies, overlaps) are averaged over the micro-batches that have them."""
    values: dict[str, list[float]] = {}
    for part in parts:
        for name, value in part.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) if name == "loss" or name in summed else sum(found) / len(found) for name, found in values.items()}


def means(shares: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Weighted mean of each metric over the shares that have it: a kind of dialogue that a chunk lacks does not count as 0."""
    sums: dict[str, tuple[float, float]] = {}
    for weight, metrics in shares:
        for name, value in metrics.items():
            if math.isfinite(value):
                total, weights = sums.get(name, (0.0, 0.0))
                sums[name] = (total + weight * value, weights + weight)
    return {name: total / weights for name, (total, weights) in sorted(sums.items())}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _moved(value: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return value
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _moved(entry, device) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(entry, device) for entry in value)
    return value
