"""``vglamm train``: a recipe becomes a run, in this process (``--local``) or on Ray Train workers."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ray_jobs.tracking import tracked
from ray_jobs.train import ingest, kept, recipes, store
from ray_jobs.train.engine import Engine, PlainEngine
from ray_jobs.train.loop import Alone, Loop, Report
from ray_jobs.train.precision import settled
from ray_jobs.train.progress import Display
from ray_jobs.train.recipes import Recipe
from ray_jobs.train.record import Record
from ray_jobs.train.store import State
from vglamm.checkpoint import as_device
from vglamm.freeze import train_only

log = logging.getLogger(__name__)


def train(source: str, overrides: Sequence[str] = (), *, local: bool = False, name: str | None = None) -> Path:
    """Run a recipe to its end, going on where the run of that name (by default the recipe's) stopped; returns its last checkpoint
    folder."""
    recipe = recipes.load(source, overrides)
    if name is not None:  # not an override, which would read it as YAML: a number, a date
        recipe = replace(recipe, name=name)
    with store.claimed(recipe.folder):
        if local:
            return run_local(recipe)
        from ray_jobs.train.cluster import run_on_ray

        return run_on_ray(recipe)


def run_local(recipe: Recipe) -> Path:
    """The whole run in this process, without Ray and DeepSpeed. A signal ends it with a checkpoint and KeyboardInterrupt."""
    found = store.latest(recipe.folder)
    if found is not None:
        kept.check(recipe)
    with tracked(recipe) as tracker:
        return _run_here(recipe, found, [] if tracker is None else [tracker])


def _run_here(recipe: Recipe, found: Path | None, takers: list[Any]) -> Path:
    torch.set_num_threads(recipe.threads)
    asked, recipe = recipe, in_one(recipe)
    store.prune(recipe.folder, recipe.checkpoints.keep)
    device = as_device("cuda" if recipe.gpu else "cpu")
    recipe = settled(recipe, device, Alone())
    tokenizer, objective, state = prepared(recipe, found)
    objective.to(device)
    engine = PlainEngine(objective, recipe, device)
    if found is not None:
        engine.load(found)
    preparer = objective.preparer()
    plan = ingest.micro_batches(recipe, step=state.step, consumed=state.consumed, rank=0)
    if recipe.data.producers:
        feed = ingest.produced(preparer, plan, producers=recipe.data.producers, prefetch=recipe.data.prefetch)
    else:
        feed = ingest.inline(preparer, plan)
    held_out = [preparer(i) for i in held_out_ids(recipe, 0, 1)] if recipe.validation.every else []
    with closing(Display(recipe.name)) as display, _stop_signals() as stop:
        if state.step < recipe.steps:
            kept.keep(asked)
        here = Here(recipe, [Record(recipe), display, *takers])
        keep = partial(write_checkpoint, objective, engine, tokenizer)
        reached = Loop(recipe, objective, engine, feed, here, state, held_out, keep, stop.is_set).run()
        if stop.is_set() and reached.step < recipe.steps:
            raise KeyboardInterrupt
    last = store.latest(recipe.folder)
    assert last is not None
    return last


def in_one(recipe: Recipe) -> Recipe:
    """The recipe for one worker that sees the global batches of all: their micro-batches one after the other."""
    batch = replace(recipe.batch, accumulation=recipe.batch.accumulation * recipe.workers)
    return replace(recipe, workers=1, batch=batch)


class Here(Alone):
    """The one rank of a local run: reports go straight to the takers, checkpoints appear by renaming."""

    def __init__(self, recipe: Recipe, takers: list[Any]) -> None:
        self.recipe, self.takers = recipe, takers

    def report(self, report: Report, write: Callable[[Path], None] | None, step: int) -> None:
        for taker in self.takers:
            taker.take([report])
        if write is None:
            return
        target = self.recipe.folder / store.folder_name(step)
        partial_folder = target.with_name(f".{target.name}.partial")
        partial_folder.mkdir(exist_ok=True)
        write(partial_folder)
        partial_folder.rename(target)
        store.prune(self.recipe.folder, self.recipe.checkpoints.keep)


def prepared(recipe: Recipe, found: Path | None) -> tuple[Any, Any, State]:
    """Tokenizer, objective with its starting (or resumed) weights and the trained ones marked, and how far the run is."""
    tokenizer = store.tokenizer_of(recipe)
    objective = store.build(recipe, tokenizer)
    state = State()
    if found is None:
        store.start_weights(objective, recipe)
    else:
        state = store.read_state(found)
        store.resume_weights(objective, found)
        log.info("resuming %s at step %d", recipe.name, state.step)
    trained = train_only(objective, recipe.train)
    log.info("training %d of %d tensors", len(trained), len(list(objective.parameters())))
    return tokenizer, objective, state


def write_checkpoint(objective: Any, engine: Engine, tokenizer: Any, folder: Path, state: State) -> None:
    """Fill a checkpoint folder; on ranks but the first only the optimiser's share is written."""
    engine.save(folder)
    weights = engine.weights()
    if weights is not None:
        store.write_model(folder, objective, weights, tokenizer, state)
        store.seal(folder)


def held_out_ids(recipe: Recipe, rank: int, world: int) -> list[int]:
    """This rank's share of the validation ids, in order."""
    start = recipe.validation.start
    return list(range(start + rank, start + recipe.validation.count, world))


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and the first SIGINT set; a second SIGINT interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
