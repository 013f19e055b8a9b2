"""The record of a run says how it was run, whatever a start that fails was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ray_jobs.train import kept
from ray_jobs.train.cluster import Controller
from ray_jobs.train.recipes import Recipe, load
from ray_jobs.train.run import run_local
from vglamm.errors import CheckpointError, ConfigError

Make = Callable[..., Recipe]


def record(recipe: Recipe) -> str:
    return (recipe.folder / "recipe.yaml").read_text(encoding="utf-8")


def test_what_is_kept_is_the_recipe(lines_recipe: Make) -> None:
    recipe = lines_recipe("workers=2", "optimiser.groups=[{pattern: projector, lr: 1e-9}]", "lora={rank: 4}")
    kept.keep(recipe)
    assert load(str(recipe.folder / "recipe.yaml")) == recipe


@pytest.mark.parametrize("other", ["preset=small", "objective=nowhere:Nothing", "tokenizer=world"])
def test_a_run_of_another_making_is_refused_and_its_record_stays(lines_recipe: Make, other: str) -> None:
    first = lines_recipe("steps=1")
    run_local(first)
    before, name = record(first), other.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{name}=.*this run was made with {name}=.*choose another --name"):
        run_local(lines_recipe("steps=2", other, "checkpoints.keep=1"))
    assert record(first) == before


def test_a_start_that_fails_leaves_the_record_as_it_was(lines_recipe: Make) -> None:
    first = lines_recipe("steps=1")
    run_local(first)
    before = record(first)
    with pytest.raises(CheckpointError):
        run_local(lines_recipe("steps=2", "train=[pixel]"))
    assert record(first) == before
    assert run_local(lines_recipe("steps=2", "seed=5")).name == "step-0000002"
    assert yaml.safe_load(record(first))["seed"] == 5


def test_a_finished_run_keeps_its_record(lines_recipe: Make) -> None:
    first = lines_recipe("steps=1")
    run_local(first)
    before = record(first)
    run_local(lines_recipe("steps=1", "seed=5"))
    assert record(first) == before


def test_what_has_changed_is_told_without_passwords(lines_recipe: Make, caplog: pytest.LogCaptureFixture) -> None:
    kept.keep(lines_recipe("settings={scale: 2.0}", "log.tracking=http://me:secret@books"))
    with caplog.at_level(logging.WARNING, kept.__name__):
        kept.check(lines_recipe("settings={scale: 2.0}", "log.tracking=http://me:secret@books"))
        assert caplog.text == ""
        kept.check(lines_recipe("optimiser.muon=0.01", "steps=9"))
    assert "lines goes on with other settings: steps 8 -> 9" in caplog.text
    assert "optimiser.muon 0.0 -> 0.01" in caplog.text
    assert "settings.scale 2.0 -> None" in caplog.text
    assert "log.tracking http://books -> off" in caplog.text


def test_a_run_without_a_record_is_taken_up_and_a_damaged_one_named(lines_recipe: Make) -> None:
    recipe = lines_recipe()
    kept.check(recipe)
    recipe.folder.mkdir(parents=True)
    (recipe.folder / "recipe.yaml").write_text("[", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"recipe\.yaml, which cannot be read"):
        kept.check(recipe)


def test_on_ray_the_record_is_kept_with_the_first_report(lines_recipe: Make, tmp_path: Path) -> None:
    recipe = lines_recipe()
    controller = Controller(recipe)
    assert not recipe.folder.exists()
    controller.after_report(None, [{"rank": 0, "step": 1, "steps": [], "samples": []}], None)
    assert load(str(recipe.folder / "recipe.yaml")) == recipe
