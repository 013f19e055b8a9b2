"""The training loop, the same in one process and on many ranks: it knows neither Ray nor DeepSpeed nor MLflow.

A step: collate its micro-batches, add up over all ranks what the sums are divided by, forward and backward each, update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ray_jobs.train.engine import Engine, learning_rate
from ray_jobs.train.ingest import Feed, Item
from ray_jobs.train.progress import INTERVAL
from ray_jobs.train.recipes import Recipe
from ray_jobs.train.store import State
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
    step and, if true on rank 0, ends the run with a checkpoint. A report is made every ``log.every`` steps, and before ``INTERVAL``
    seconds have passed without one, unless a step takes longer."""

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
        recipe, step = self.recipe, self.state.step
        if step == 0 and recipe.validation.every:
            self._report(step, validate=True, save=False)
        saved = told = time.monotonic()
        took = 0.0
        while step < recipe.steps:
            now = time.monotonic()
            timed = 0 < recipe.checkpoints.minutes <= (now - saved) / 60
            late = now + 2 * took - told > INTERVAL  # the step after this one, if as long as the last, would end too late
            save_now, stop_now, tell_now = self._step(step, timed, self.stop(), late)
            took = time.monotonic() - now
            step += 1
            self.state = State(step, self.state.consumed + recipe.global_batch)
            last = step == recipe.steps or stop_now
            save = last or save_now or _due(step, recipe.checkpoints.every)
            validate = bool(recipe.validation.every) and (step == recipe.steps or _due(step, recipe.validation.every))
            if save or validate or tell_now or _due(step, recipe.log.every):
                self._report(step, validate, save)
                told = time.monotonic()
            if save:
                saved = time.monotonic()
            if stop_now:
                break
        self.feed.close()
        return self.state

    def _step(self, step: int, *wishes: bool) -> list[bool]:
        """One step. The wishes of rank 0 (to save, to stop, to report) travel with the totals, so that all ranks agree."""
        begun, waited = time.perf_counter(), 0.0
        batches, counts, seen = [], None, []
        for _ in range(self.recipe.batch.accumulation):
            before = time.perf_counter()
            ids, items = next(self.feed)
            waited += time.perf_counter() - before
            batch = self.objective.collate(items)
            counted = self.objective.count(batch).double()
            counts = counted if counts is None else counts + counted
            batches.append(moved(batch, self.engine.device))
            seen.extend(ids)
        assert counts is not None
        heard = torch.tensor([wish and self.ranks.rank == 0 for wish in wishes], dtype=torch.float64)
        shared = self.ranks.sum(torch.cat([counts, heard]))
        totals = shared[: len(counts)].float().to(self.engine.device)
        terms: list[dict[str, Tensor]] = []
        for m, batch in enumerate(batches):
            torch.manual_seed(hash((self.recipe.seed, step, m, self.ranks.rank)))  # dropout of a resumed step is that of the step
            terms.append(self._micro_batch(batch, totals))
        norm = self.engine.step(step)
        self.samples.append((step, seen))
        self.window.append({"step": step, "terms": terms, "norm": norm, "wait": waited, "seconds": time.perf_counter() - begun})
        return [bool(wish) for wish in shared[len(counts) :]]

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
        mine = [[plain(terms) for terms in entry["terms"]] for entry in self.window]
        window, self.window, everyone = self.window, [], self.ranks.gather(mine)
        out = []
        for i, entry in enumerate(window):
            terms = joined([part for rank in everyone for part in rank[i]])
            line = {"step": entry["step"], **terms, "norm": entry["norm"]}
            if not (math.isfinite(line["loss"]) and math.isfinite(line["norm"])):
                raise ConfigError(
                    f"{line} in training", "finite numbers", "lower optimiser.lr, or look at the samples of this step"
                )
            rate = self.recipe.optimiser.lr * learning_rate(self.recipe.optimiser, self.recipe.steps, entry["step"])
            out.append({**line, "lr": rate, "wait": entry["wait"], "seconds": entry["seconds"]})
        return out

    def _validate(self) -> Report:
        """The terms of all held-out items of all ranks, as if they were one batch, in eval mode and without gradients."""
        self.objective.eval()
        with torch.random.fork_rng(), torch.no_grad():
            counts = torch.stack([self.objective.count(batch).double() for batch in self._held_out()]).sum(0)
            totals = self.ranks.sum(counts).float().to(self.engine.device)
            mine = [plain(self.objective.validate(moved(batch, self.engine.device), totals)) for batch in self._held_out()]
            # at ZeRO 3 a forward pass gathers parameters from all ranks, so that all have to draw
            draws = hasattr(self.objective, "pictures") and (self.ranks.rank == 0 or self.recipe.zero == 3)
            shown = self.held_out[: self.recipe.validation.pictures] if draws else []
            pictures = self.objective.pictures(moved(self.objective.collate(shown), self.engine.device)) if shown else {}
        set_modes(self.objective)
        return {"validation": joined([terms for rank in self.ranks.gather(mine) for terms in rank]), "pictures": pictures}

    def _held_out(self) -> Iterator[Any]:
        """The held-out items as batches of ``batch.per_worker``, made anew each time: masks of all of them at once are many."""
        size = self.recipe.batch.per_worker
        for i in range(0, len(self.held_out), size):
            yield self.objective.collate(self.held_out[i : i + size])


def joined(parts: list[dict[str, float | list[float]]]) -> dict[str, float]:
    """Terms of all batches and ranks: numbers are shares of one sum and add up; pairs are the sum and the number of a mean, and a
    mean over nothing is left out."""
    sums: dict[str, float] = {}
    pairs: dict[str, tuple[float, float]] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, list):
                total, number = pairs.get(name, (0.0, 0.0))
                pairs[name] = (total + value[0], number + value[1])
            else:
                sums[name] = sums.get(name, 0.0) + value
    return sums | {name: total / number for name, (total, number) in pairs.items() if number}


def plain(terms: dict[str, Tensor]) -> dict[str, float | list[float]]:
    """Terms as numbers and pairs of numbers."""
    return {name: value.tolist() for name, value in terms.items()}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def moved(value: Any, device: torch.device) -> Any:
    """A batch with all its tensors on the device: the one way from ``collate`` to the model."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: moved(entry, device) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(entry, device) for entry in value)
    return value
