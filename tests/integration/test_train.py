"""Training on a local Ray is training in one process: same samples, same losses, through death and change of workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ray_jobs.train.ingest import micro_batches, streamed
from ray_jobs.train.recipes import Recipe
from ray_jobs.train.record import read
from ray_jobs.train.run import run_local
from tests import fakes
from tests.unit.objectives import sets
from tests.unit.ray_jobs.conftest import lines_preset, lines_recipe
from tests.unit.ray_jobs.draw import Jealous
from vglamm import checkpoint
from vglamm.errors import ConfigError
from vglamm.model import VideoGLaMM

__all__ = ["lines_preset", "lines_recipe"]  # fixtures
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    # Ray Data's own defaults
    pytest.mark.filterwarnings("ignore:`use_(push_based_shuffle|polars|arrow_tensor_v2)` is deprecated:DeprecationWarning"),
]

Make = Callable[..., Recipe]
SAME = ("optimiser.decay=none", "settings.noise=0", "data.count=40", "cpus=0.5", "max_failures=0", "log.every=2")


def run_on_ray(recipe: Recipe) -> Path:
    from ray_jobs.train.cluster import run_on_ray

    return run_on_ray(recipe)


def batches(recipe: Recipe) -> list[list[int]]:
    """The sample ids of each step, over all ranks."""
    found: dict[int, list[int]] = {}
    for line in read(recipe.folder, "samples"):
        found.setdefault(line["step"], []).extend(line["ids"])
    return [sorted(found[step]) for step in sorted(found)]


def by_rank(recipe: Recipe) -> dict[tuple[int, int], list[int]]:
    """The sample ids that were logged, by (step, rank)."""
    return {(line["step"], line["rank"]): line["ids"] for line in read(recipe.folder, "samples")}


def planned(recipe: Recipe) -> dict[tuple[int, int], list[int]]:
    """The sample ids that each rank is to see, by (step, rank): any two runs that keep to it, cut or not, see the same."""
    out: dict[tuple[int, int], list[int]] = {}
    for rank in range(recipe.workers):
        for m, ids in enumerate(micro_batches(recipe, step=0, consumed=0, rank=rank)):
            out.setdefault((m // recipe.batch.accumulation, rank), []).extend(ids)
    return out


def losses(recipe: Recipe) -> list[float]:
    return [line["loss"] for line in read(recipe.folder, "steps")]


@pytest.fixture
def whole(lines_recipe: Make) -> Recipe:
    """Nine steps in one process, in one piece."""
    recipe = lines_recipe("name=whole", *SAME, "steps=9")
    run_local(recipe)
    return recipe


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_one_worker_and_two_sharded_ones_train_alike(lines_recipe: Make, whole: Recipe) -> None:
    one = lines_recipe("name=one", *SAME, "steps=6", "zero=0", "log.tracking=local")
    two = lines_recipe("name=two", *SAME, "steps=6", "zero=2", "workers=2", "batch={per_worker: 1, accumulation: 2}")
    for recipe in (one, two):
        last = run_on_ray(recipe)
        assert last.name == "step-0000006"
        assert checkpoint.load(last).config.name == "fake"
        assert batches(recipe) == batches(whole)[:6]
        assert by_rank(recipe) == planned(recipe)
        assert losses(recipe) == pytest.approx(losses(whole)[:6], abs=1e-5)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert [line["norm"] for line in read(two.folder, "steps")] == pytest.approx(
        [s["norm"] for s in read(one.folder, "steps")], rel=1e-4
    )
    assert sorted({line["rank"] for line in read(two.folder, "samples")}) == [0, 1]
    assert _tracked(one) == (["FINISHED"], [2, 4, 6])


@pytest.mark.usefixtures("local_ray")
def test_producers_are_the_tasks_at_a_time_and_keep_the_order(tmp_path: Path) -> None:
    plan = [[i, i + 50] for i in range(12)]
    found = list(streamed(Jealous(4, 1.0, str(tmp_path)), iter(plan), producers=1, prefetch=3))
    assert [ids for ids, _ in found] == plan == [[item["id"] for item in items] for _, items in found]


@pytest.mark.usefixtures("local_ray")
def test_two_workers_train_matrices_with_muon_as_one_process_does(lines_recipe: Make) -> None:
    muon = ("steps=6", "optimiser.muon=0.01")
    here = lines_recipe("name=here", *SAME, *muon)
    run_local(here)
    there = lines_recipe("name=there", *SAME, *muon, "workers=2", "batch.per_worker=2")
    run_on_ray(there)
    assert batches(there) == batches(here)
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)  # Muon's own products are in bfloat16


def _tracked(recipe: Recipe) -> tuple[list[str], list[int]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{recipe.storage}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("vglamm").experiment_id])
    return [run.info.status for run in runs], [m.step for m in client.get_metric_history(runs[0].info.run_id, "train/loss")]


@pytest.mark.fault
@pytest.mark.usefixtures("local_ray")
def test_a_run_survives_the_death_of_a_worker_and_a_change_of_workers(lines_recipe: Make, whole: Recipe, tmp_path: Path) -> None:
    """Two workers at ZeRO 2, one killed in step 5; then ZeRO 3, with pictures, which the model draws; then this process; then Ray
    again: the same losses throughout."""
    order = batches(whole)
    fragile = (
        "objective=tests.unit.ray_jobs.lines:Fragile",
        f"settings.fatal={order[5][-1]}",
        f"settings.marker={tmp_path / 'died'}",
    )
    two = ("zero=2", "workers=2", "batch.per_worker=2", "max_failures=1", "checkpoints.every=2")
    recipe = lines_recipe("name=cut", *SAME, *two, *fragile, "steps=6")
    run_on_ray(recipe)
    assert by_rank(recipe) == planned(recipe)
    assert (tmp_path / "died").exists()
    assert [json.loads(line)["rank"] for line in (recipe.folder / "failures.jsonl").read_text().splitlines()]
    shows = ("validation={every: 1, count: 4, pictures: 2}", "workers=2", "batch.per_worker=2")
    run_on_ray(lines_recipe("name=cut", *SAME, *fragile, *shows, "zero=3", "steps=7"))
    run_local(lines_recipe("name=cut", *SAME, *fragile, "steps=8"))
    last = run_on_ray(lines_recipe("name=cut", *SAME, *fragile, "steps=9"))
    assert sorted(path.name for path in recipe.folder.glob("step-*")) == ["step-0000008", last.name]
    assert len(list((recipe.folder / "pictures").glob("0000007-*.png"))) == 2
    assert batches(recipe) == order
    assert losses(recipe) == pytest.approx(losses(whole), abs=1e-5)


@pytest.mark.usefixtures("local_ray")
def test_workers_that_leave_no_cpu_for_samples_are_refused(lines_recipe: Make) -> None:
    with pytest.raises(ConfigError, match="preparing samples"):
        run_on_ray(lines_recipe("workers=2", "cpus=1"))


@pytest.mark.usefixtures("local_ray")
def test_a_mistake_in_a_recipe_that_only_workers_see_is_told_once(lines_recipe: Make, tmp_path: Path) -> None:
    """Trying again would make it again: ``max_failures`` is for workers that die."""
    mistaken = ("objective=tests.unit.ray_jobs.lines:Mistaken", f"settings.marker={tmp_path / 'built'}")
    with pytest.raises(ConfigError, match=r"settings\.scale=0"):
        run_on_ray(lines_recipe("name=mistaken", *SAME, *mistaken, "max_failures=2"))
    assert (tmp_path / "built").read_text() == "built\n"


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_published_recipe_trains_alike_on_ray_and_in_bfloat16(tmp_path: Path) -> None:
    """Two workers at ZeRO 2 see and lose what one process does; in bfloat16, as the recipe has it, nearly."""
    from ray_jobs.train.recipes import load

    sets.write(tmp_path)
    base = tmp_path / "base"
    torch.manual_seed(1)
    checkpoint.save(VideoGLaMM(fakes.config()), base, tokenizer=fakes.tokenizer())
    left_out = set(load("videoglamm").settings["corpora"]) - {"mevis", "ytvos_gcg", "reason_seg"}
    given = [
        *(f"settings.corpora.{name}=0" for name in left_out), f"settings.videos={tmp_path}",
        f"settings.images={tmp_path / 'images'}",
        f"preset={base}", f"tokenizer={base}", f"init.all={base}", f"storage={tmp_path / 'runs'}", "settings.held_out=0.3",
        "lora.dropout=0", "steps=4", "batch={per_worker: 2, accumulation: 2}", "workers=2", "gpu=false", "cpus=0.5",
        "optimiser.warmup=2",
        "log={every: 2, tracking: off}", "validation={every: 4, count: 4}", "data.producers=1", "max_failures=0",
    ]  # fmt: skip
    here = load("videoglamm", [*given, "name=here", "precision=fp32", "zero=0"])
    there = load("videoglamm", [*given, "name=there", "precision=fp32"])
    half = load("videoglamm", [*given, "name=half"])
    run_local(here)
    for recipe in (there, half):
        assert recipe.zero == 2
        run_on_ray(recipe)
        assert batches(recipe) == batches(here)
    assert losses(there) == pytest.approx(losses(here), abs=1e-5)
    assert half.precision == "bf16"
    assert losses(half) == pytest.approx(losses(here), rel=0.05)
    assert {"iou", "token"} <= set(read(half.folder, "validation")[-1])
