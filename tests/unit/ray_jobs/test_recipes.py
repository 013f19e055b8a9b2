from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ray_jobs.recipes import Recipe, load, names
from vglamm.config import from_tree
from vglamm.errors import ConfigError


def test_overrides_reach_nested_settings(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("optimiser.lr=1e-4", "batch.accumulation=5", "workers=2", "train=[pixel]", "settings.scale=2.5")
    assert (recipe.optimiser.lr, recipe.global_batch, recipe.train, recipe.settings) == (1e-4, 40, ("pixel",), {"scale": 2.5})


def test_a_recipe_survives_the_way_to_a_worker(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("optimiser.groups=[{pattern: projector, lr: 0.5}]", "lora={rank: 4}")
    assert from_tree(Recipe, recipe.to_tree()) == recipe


@pytest.mark.parametrize("name", names())
def test_shipped_recipes_are_valid(name: str) -> None:
    assert load(name).name


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.lr=1", "unknown optimizer"),
        ("optimiser.learning_rate=1", "unknown optimiser.learning_rate"),
        ("steps=many", "steps='many'"),
        ("zero=4", "zero=4"),
        ("precision=fp16", "precision='fp16'"),
        ("precision=bf16", "zero=1 or more"),
        ("batch.per_worker=0", "batch.per_worker=0"),
        ("init={audio: x}", "audio"),
        ("name=a/b", "name='a/b'"),
        ("steps", "key=value"),
        ("train=[", "YAML"),
    ],
)
def test_what_is_wrong_is_named(lines_recipe: Callable[..., Recipe], override: str, said: str) -> None:
    with pytest.raises(ConfigError, match="expected") as error:
        lines_recipe(override)
    assert said in str(error.value)


def test_validation_is_shared_evenly(lines_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ConfigError, match="multiple of the workers"):
        lines_recipe("validation={every: 1, count: 3}", "workers=2")


def test_an_unknown_recipe_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of"):
        load("no-such-recipe")
    with pytest.raises(ConfigError, match="no recipe at"):
        load(str(tmp_path / "none.yaml"))


def test_tracking_off_may_be_written_bare() -> None:
    assert load("tiny-language", ["log.tracking=off"]).log.tracking == "off"


def test_storage_is_a_path() -> None:
    with pytest.raises(ConfigError, match="all nodes share"):
        load("tiny-language", ["storage=s3://bucket/runs"])
