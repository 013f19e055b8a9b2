"""A recipe that trains a small real model in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.train.recipes import Recipe, load
from tests import fakes

TEXT = """
name: lines
objective: tests.unit.ray_jobs.lines:Lines
steps: 8
train: [projector, heads]
data: {producers: 0}
batch: {per_worker: 4}
optimiser: {lr: 3e-3, warmup: 3}
log: {every: 2, tracking: "off"}
"""


@pytest.fixture(scope="session")
def lines_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the config and tokenizer of ``fakes``."""
    folder = tmp_path_factory.mktemp("preset")
    (folder / "config.json").write_text(fakes.config().to_json())
    fakes.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def lines_recipe(tmp_path: Path, lines_preset: Path) -> Callable[..., Recipe]:
    """``lines_recipe("steps=3", ...)``: the recipe with overrides, its runs below ``tmp_path``."""
    (tmp_path / "lines.yaml").write_text(TEXT)
    fixed = [f"preset={lines_preset}", f"tokenizer={lines_preset}", f"storage={tmp_path / 'runs'}"]

    def made(*overrides: Any) -> Recipe:
        return load(str(tmp_path / "lines.yaml"), [*fixed, *overrides])

    return made
