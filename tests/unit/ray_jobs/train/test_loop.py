"""The local run, end to end on a small real model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ray_jobs.train import store
from ray_jobs.train.engine import Optimisers, PlainEngine
from ray_jobs.train.ingest import inline, micro_batches
from ray_jobs.train.loop import Alone, Loop, joined
from ray_jobs.train.recipes import Recipe
from ray_jobs.train.record import read
from ray_jobs.train.run import prepared, run_local
from ray_jobs.train.store import latest
from tests.unit.objectives.second_device import THERE, SecondDevice, put
from tests.unit.ray_jobs.lines import Lines
from vglamm import checkpoint
from vglamm.errors import CheckpointError, ConfigError
from vglamm.tensors import TensorFile

Make = Callable[..., Recipe]


def losses(recipe: Recipe) -> list[float]:
    return [line["loss"] for line in read(recipe.folder, "steps")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = [TensorFile(folder / f"{name}.safetensors") for name in (*store.PARTS, "heads")]
    return {f"{file.path.stem}.{name}": file.get(name).clone() for file in files for name in file.shapes}


def test_a_run_learns_and_leaves_what_it_should(lines_recipe: Make) -> None:
    recipe = lines_recipe("steps=12", "validation={every: 6, count: 6, pictures: 2}", "checkpoints.every=5", "data.producers=1")
    last = run_local(recipe)
    lines = read(recipe.folder, "steps")
    assert [line["step"] for line in lines] == list(range(12))
    assert {"loss", "mse", "sign", "norm", "lr", "wait", "seconds"} <= set(lines[0])
    assert lines[0]["lr"] == pytest.approx(1e-3)
    assert [line["ids"] for line in read(recipe.folder, "samples")] == [list(range(4 * s, 4 * s + 4)) for s in range(12)]
    checked = read(recipe.folder, "validation")
    assert [line["step"] for line in checked] == [0, 6, 12]
    assert checked[2]["mse"] < checked[0]["mse"]
    assert len(list((recipe.folder / "pictures").iterdir())) == 6
    assert sorted(path.name for path in recipe.folder.glob("*step-*")) == ["step-0000010", "step-0000012"]
    assert last.name == "step-0000012"
    assert checkpoint.load(last).config.name == "fake"


def test_only_what_the_recipe_names_moves(lines_recipe: Make) -> None:
    recipe = lines_recipe("steps=2", "checkpoints.every=1", "checkpoints.keep=2")
    run_local(recipe)
    before, after = (weights(recipe.folder / store.folder_name(step)) for step in (1, 2))
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {
        *(f"language.projector.fc{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
        "heads.heads.read.weight",
        "heads.heads.read.bias",
    }


def test_a_cut_run_goes_on_as_if_never_cut(lines_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples, losses (with random noise in the objective) and weights are bit-equal to those of a run in one piece."""
    whole = lines_recipe("name=whole", "settings.noise=0.5", "data.count=10")
    cut = lines_recipe("name=cut", "settings.noise=0.5", "data.count=10", "checkpoints.every=3")
    run_local(whole)
    count, calls = Lines.count, iter(range(100))

    def dying(self: Lines, batch: Any) -> torch.Tensor:
        if next(calls) == 5:
            raise MemoryError("killed in step 5")
        return count(self, batch)

    monkeypatch.setattr(Lines, "count", dying)
    with pytest.raises(MemoryError):
        run_local(cut)
    monkeypatch.undo()
    assert store.latest(cut.folder) == cut.folder / "step-0000003"
    run_local(cut)
    assert read(cut.folder, "samples") == read(whole.folder, "samples")
    assert losses(cut) == losses(whole)
    a, b = (weights(recipe.folder / "step-0000008") for recipe in (cut, whole))
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_a_finished_run_is_not_trained_again(lines_recipe: Make) -> None:
    recipe = lines_recipe("steps=3")
    assert run_local(recipe) == run_local(recipe)
    assert (recipe.folder / "steps.jsonl").read_text().count("\n") == 3


def test_more_steps_continue_a_finished_run(lines_recipe: Make) -> None:
    run_local(lines_recipe("steps=3"))
    longer = lines_recipe("steps=5", "batch.per_worker=2")
    run_local(longer)
    assert [line["ids"] for line in read(longer.folder, "samples")][2:] == [[8, 9, 10, 11], [12, 13], [14, 15]]


def test_micro_batches_of_any_size_give_the_same_losses(lines_recipe: Make) -> None:
    cuts = [(4, 1), (2, 2), (1, 4)]
    found = []
    for size, times in cuts:
        recipe = lines_recipe(f"name=cut{size}", f"batch={{per_worker: {size}, accumulation: {times}}}")
        run_local(recipe)
        found.append(losses(recipe))
    assert found[1] == pytest.approx(found[0], abs=1e-5)
    assert found[2] == pytest.approx(found[0], abs=1e-5)
    assert found[0][0] != pytest.approx(found[0][-1], abs=1e-3)


def test_one_process_sees_the_global_batches_of_all_workers(lines_recipe: Make) -> None:
    one, three = lines_recipe("name=one", "batch.per_worker=6"), lines_recipe("name=three", "batch.per_worker=2", "workers=3")
    for recipe in (one, three):
        run_local(recipe)
    assert read(three.folder, "samples") == read(one.folder, "samples")
    assert losses(three) == pytest.approx(losses(one), abs=1e-5)


def test_a_signal_ends_a_run_with_a_checkpoint(lines_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, count, calls = lines_recipe("steps=1000"), Lines.count, iter(range(1000))

    def terminated(self: Lines, batch: Any) -> torch.Tensor:
        if next(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return count(self, batch)

    monkeypatch.setattr(Lines, "count", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_local(recipe)
    found = latest(recipe.folder)
    assert found is not None
    assert found.name in ("step-0000005", "step-0000006")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loss_that_is_no_number_ends_the_run(lines_recipe: Make) -> None:
    with pytest.raises(ConfigError, match="finite"):
        run_local(lines_recipe("settings.scale=1e30", "steps=2"))


def test_a_run_starts_from_parts_of_others(lines_recipe: Make) -> None:
    first = lines_recipe("name=first", "steps=2")
    run_local(first)
    second = lines_recipe("name=second", "steps=1", "seed=7", "optimiser.lr=0", "init={language: first, heads: first}")
    a, b = weights(store.latest(first.folder) or Path()), weights(run_local(second))
    same = {name.split(".")[0] for name in a if torch.equal(a[name], b[name]) and a[name].dim() > 1 and a[name].std() > 0}
    assert {"language", "heads"} <= same
    assert not torch.equal(a["vision.spatial_adapter.fc1.weight"], b["vision.spatial_adapter.fc1.weight"])
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith(("language.", "heads.")))


def test_a_run_starts_from_the_mean_of_others(lines_recipe: Make) -> None:
    names = ("one", "two", "three")
    each = [weights(run_local(lines_recipe(f"name={name}", "steps=1", f"seed={seed}"))) for seed, name in enumerate(names)]
    mean = weights(run_local(lines_recipe("name=mean", "steps=1", "optimiser.lr=0", "init={language: [one, two, three]}")))
    for name in (name for name in mean if name.startswith("language.")):
        wanted = torch.stack([found[name] for found in each]).mean(0)
        torch.testing.assert_close(mean[name], wanted, msg=name)
    assert not torch.equal(each[0]["language.projector.fc1.weight"], mean["language.projector.fc1.weight"])


def test_low_rank_adapters_start_on_plain_weights(lines_recipe: Make) -> None:
    run_local(lines_recipe("name=plain", "steps=1"))
    lora = ("lora={rank: 2, targets: [qkv_proj]}", "train=[lora, projector, heads]")
    recipe = lines_recipe("name=low", "steps=2", "init.all=plain", *lora)
    last = run_local(recipe)
    assert checkpoint.load(last).config.language.lora is not None
    a, b = weights(store.latest(recipe.folder.parent / "plain") or Path()), weights(last)
    name = "language.lm.model.layers.0.self_attn.qkv_proj"
    assert torch.equal(a[f"{name}.weight"], b[f"{name}.base_layer.weight"])


def test_a_run_that_trains_something_else_is_another_run(lines_recipe: Make) -> None:
    run_local(lines_recipe("steps=1"))
    with pytest.raises(CheckpointError, match="keep `train`"):
        run_local(lines_recipe("steps=2", "train=[projector]"))


def test_shares_and_pairs_add_up() -> None:
    """A mean is over all that it counts, not over the batches' own means; one over nothing is left out."""
    parts = [{"loss": 1.0, "right": [3.0, 3.0]}, {"loss": 2.0, "iou": [0.0, 0.0]}, {"loss": 3.0, "right": [0.0, 1.0]}]
    assert joined(parts) == {"loss": 6.0, "right": 0.75}


def test_validation_does_not_depend_on_how_the_held_out_items_are_cut(lines_recipe: Make) -> None:
    found = []
    for workers, size in ((1, 6), (1, 4), (2, 1)):
        recipe = lines_recipe(f"name=w{workers}s{size}", "steps=1", f"workers={workers}", f"batch.per_worker={size}",
                              "validation={every: 1, count: 6}")  # fmt: skip
        run_local(recipe)
        found.append(read(recipe.folder, "validation")[0])
    assert {"mse", "sign", "rare"} < set(found[0])
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert found[2] == pytest.approx(found[0], abs=1e-6)


def test_what_is_held_out_and_drawn_goes_to_the_device_as_training_does(
    lines_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.train.run.as_device", lambda _: THERE)
    monkeypatch.setattr(Lines, "to", lambda self, device: put(self))
    monkeypatch.setattr(Optimisers, "step", lambda self: None)  # gradients carry no mark
    recipe = lines_recipe("steps=2", "validation={every: 1, count: 6, pictures: 1}")
    with SecondDevice():
        run_local(recipe)
    assert [line["step"] for line in read(recipe.folder, "validation")] == [0, 1, 2]
    assert len(list((recipe.folder / "pictures").iterdir())) == 3


class Clock:
    """Seconds that pass in steps alone. It stands for the module ``time`` in the loop."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.each = 0.0, iter(seconds)

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def tick(self) -> None:
        self.now += next(self.each)


class Heard(Alone):
    """Rank ``rank`` of a run in which rank 0 wishes for reports after the steps ``wished``; it remembers its own."""

    def __init__(self, rank: int, *wished: int) -> None:
        self.rank, self.wished, self.asked, self.reports = rank, wished, 0, []

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        tensor = tensor.clone()
        tensor[-1] += float(self.asked in self.wished)
        return tensor

    def report(self, report: Any, write: Any, step: int) -> None:
        self.reports.append((step, [line["step"] for line in report["steps"]]))


def reports(recipe: Recipe, ranks: Heard, monkeypatch: pytest.MonkeyPatch, *seconds: float) -> list[tuple[int, list[int]]]:
    """(step, the steps told) of each report of a run whose steps take that long."""
    clock, count = Clock(*seconds), Lines.count

    def counted(self: Lines, batch: Any) -> torch.Tensor:
        clock.tick()
        return count(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr("ray_jobs.train.loop.time", clock)
        patched.setattr(Lines, "count", counted)
        _, objective, state = prepared(recipe, None)
        engine = PlainEngine(objective, recipe, torch.device("cpu"))
        feed = inline(objective.preparer(), micro_batches(recipe, step=0, consumed=0, rank=0))
        Loop(recipe, objective, engine, feed, ranks, state, [], lambda folder, state: None).run()
    return ranks.reports


def test_slow_steps_are_told_before_half_a_minute_of_silence(lines_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = lines_recipe("steps=8", "log.every=5", "checkpoints.minutes=0")
    fast = reports(recipe, Heard(0), monkeypatch, *[1.0] * 8)
    assert fast == [(5, [0, 1, 2, 3, 4]), (8, [5, 6, 7])]
    slow = reports(recipe, Heard(0), monkeypatch, *[10.0] * 8)
    assert slow == [(3, [0, 1, 2]), (5, [3, 4]), (8, [5, 6, 7])]
    very_slow = reports(recipe, Heard(0), monkeypatch, *[60.0] * 8)
    assert [step for step, _ in very_slow] == [2, 3, 4, 5, 6, 7, 8]


def test_the_clock_of_the_first_rank_is_that_of_all(lines_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = lines_recipe("steps=8", "log.every=100", "checkpoints.minutes=0")
    assert [step for step, _ in reports(recipe, Heard(1), monkeypatch, *[60.0] * 8)] == [8]
    assert [step for step, _ in reports(recipe, Heard(1, 2, 5), monkeypatch, *[1.0] * 8)] == [2, 5, 8]
