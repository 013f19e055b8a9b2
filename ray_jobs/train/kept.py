"""``recipe.yaml`` in a run's folder: how it was run, and whether a recipe that bears its name is that of the same run.

Torch-free.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ray_jobs.train.recipes import Recipe
from vglamm.books import flat
from vglamm.config import text_of
from vglamm.errors import ConfigError

log = logging.getLogger(__name__)
SAME = ("preset", "objective", "tokenizer")
"""What a run's weights were made with: with another one they would not fit, or mean something else."""
PLACE = ("name", "storage")
"""Where the run is, however it is written: no setting of it."""


def keep(recipe: Recipe) -> None:
    """Write the whole recipe, with overrides, to the run's folder. Called once the run has begun, so that a start that fails leaves
    the record of those before as it was."""
    import yaml

    recipe.folder.mkdir(parents=True, exist_ok=True)
    _file(recipe).write_text(yaml.safe_dump(_plain(recipe.to_tree()), sort_keys=False), encoding="utf-8")


def check(recipe: Recipe) -> None:
    """Whether the run that this recipe takes up is its own: ConfigError if it was made with another of :data:`SAME`. What else
    has changed since is logged."""
    known = _known(_file(recipe))
    wanted = _plain(recipe.to_tree())
    if other := [name for name in SAME if name in known and known[name] != wanted[name]]:
        raise ConfigError(
            f"the run {recipe.name} with " + ", ".join(f"{name}={wanted[name]}" for name in other),
            "this run was made with " + ", ".join(f"{name}={known[name]}" for name in other),
            "choose another --name, or start it as it was made",
        )
    before, now = flat(known), flat(wanted)
    changed = [name for name in now | before if name not in PLACE and before.get(name) != now.get(name)]
    if known and changed:
        told = ", ".join(f"{name} {before.get(name)} -> {now.get(name)}" for name in changed)
        log.warning("%s goes on with other settings: %s", recipe.name, told)


def _file(recipe: Recipe) -> Path:
    return recipe.folder / "recipe.yaml"


def _known(file: Path) -> dict[str, Any]:
    """What is kept of the run, {} if nothing is."""
    import yaml

    if not file.is_file():
        return {}
    try:
        tree = yaml.safe_load(text_of(file))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}, which cannot be read ({error})", "the recipe of the run", "mend it, or move it away") from error
    return tree if isinstance(tree, dict) else {}


def _plain(value: Any) -> Any:
    """As YAML holds it."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
