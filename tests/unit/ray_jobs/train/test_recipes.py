from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import pytest
import torch

from ray_jobs.train.recipes import Recipe, load, names
from ray_jobs.train.run import prepared
from vglamm import checkpoint
from vglamm.config import from_tree
from vglamm.errors import ConfigError

FOLDER = Path(str(resources.files("ray_jobs.train"))) / "recipe_files"


def test_overrides_reach_nested_settings(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("optimiser.lr=1e-4", "batch.accumulation=5", "workers=2", "train=[pixel]", "settings.scale=2.5")
    assert (recipe.optimiser.lr, recipe.global_batch, recipe.train, recipe.settings) == (1e-4, 40, ("pixel",), {"scale": 2.5})


def test_a_recipe_survives_the_way_to_a_worker(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("optimiser.groups=[{pattern: projector, lr: 0.5}]", "lora={rank: 4}")
    assert from_tree(Recipe, recipe.to_tree()) == recipe


@pytest.mark.parametrize("name", names())
def test_a_shipped_recipe_is_valid_and_the_readme_says_where_it_runs(name: str) -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (where,) = (where for pattern, where in rows if fnmatch(name, pattern))
    recipe = load(name)
    assert recipe.name == name
    assert where == ("Ray" if recipe.workers > 1 or recipe.gpu else "`--local`")


def test_the_recipe_for_ray_continues_the_shipped_model_on_two_cpus() -> None:
    recipe = load("world-ray")
    assert recipe.workers * recipe.cpus + 1 <= 2  # one CPU is for samples
    _, objective, state = prepared(recipe, None)
    assert state.step == 0
    shipped = checkpoint.load("tiny", dtype="float32").state_dict()
    assert shipped.keys() == objective.model.state_dict().keys()
    assert all(torch.equal(tensor, shipped[name]) for name, tensor in objective.model.state_dict().items())
    batch = objective.collate([objective.preparer()(recipe.data.start + i) for i in range(2)])
    terms = objective(batch, objective.count(batch))
    assert {"ce", "mask_bce", "mask_dice"} <= terms.keys()
    assert terms["loss"].isfinite()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=1", "unknown optimizer"),
        ("optimiser.learning_rate=1", "unknown optimiser.learning_rate"),
        ("steps=many", "steps='many'"),
        ("zero=4", "zero=4"),
        ("precision=fp16", "precision='fp16'"),
        ("precision=bf16", "zero=1 or more"),
        ("zero=2; optimiser.muon=0.1", "optimiser.muon=0.1 with zero=2"),
        ("batch.per_worker=0", "batch.per_worker=0"),
        ("data.producers=-1", "data.producers=-1"),
        ("data.count=0", "data.count=0"),
        ("seed=-1", "seed=-1"),
        ("data.start=-5", "data.start=-5"),
        ("validation.start=-3", "validation.start=-3"),
        ("optimiser.lr=-1", "optimiser.lr=-1"),
        ("optimiser.lr=.nan", "optimiser.lr=nan"),
        ("optimiser.groups=[{pattern: a, lr: -1}]", "optimiser.groups[0].lr=-1"),
        ("optimiser.betas=[0.9, 1.0]", "from 0 to below 1"),
        ("init={audio: x}", "audio"),
        ("init={vision: []}", "init.vision=[]"),
        ("name=a/b", "name='a/b'"),
        ("name=it's", 'name="it\'s"'),
        ("seed=99999999999999999999", "below 2^63"),
        ("optimiser.final=2", "optimiser.final=2"),
        ("optimiser.lr=.inf", "optimiser.lr=inf"),
        ("objective=finetuning; validation.every=5; validation.start=10000000", "validation.start=10000000"),
        ("objective=finetuning; data.start=900000000", "data.start=900000000"),
        ("steps", "key=value"),
        ("train=[", "YAML"),
    ],
)
def test_what_is_wrong_is_named(lines_recipe: Callable[..., Recipe], override: str, said: str) -> None:
    with pytest.raises(ConfigError, match="expected") as error:
        lines_recipe(*override.split("; "))
    assert said in str(error.value)


@pytest.mark.parametrize("count", [0, 3])
def test_validation_is_shared_evenly(lines_recipe: Callable[..., Recipe], count: int) -> None:
    with pytest.raises(ConfigError, match="multiple of the workers"):
        lines_recipe(f"validation={{every: 1, count: {count}}}", "workers=2")


def test_an_unknown_recipe_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of"):
        load("no-such-recipe")
    with pytest.raises(ConfigError, match="no recipe at"):
        load(str(tmp_path / "none.yaml"))


def test_tracking_off_may_be_written_bare() -> None:
    assert load("tiny-language", ["log.tracking=off"]).log.tracking == "off"


def test_an_address_of_the_environment_which_may_hold_a_password_stays_out_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@books/mlflow")
    assert load("tiny-language").log.tracking == "local"
    assert load("tiny-language", ["log.tracking=http://books:5000"]).log.tracking == "http://books:5000"


def test_storage_is_a_path() -> None:
    with pytest.raises(ConfigError, match="all nodes share"):
        load("tiny-language", ["storage=s3://bucket/runs"])
