"""What a training stage minimises. Each objective prepares samples by their ids on CPU workers (seeds of the generated world, or
draws from real sets), collates them and turns a batch into losses. A training loop needs nothing else of the model.

An objective has: ``preparer()`` -> picklable callable, id -> dict of numpy arrays; ``collate(items)`` -> batch;
``count(batch)`` -> float32[k], what its sums are divided by over the global batch; ``forward(batch, totals)`` -> terms with
"loss" the one to minimise; ``validate(batch, totals)`` -> the same and what only validation asks for; if it can draw,
``pictures(batch)`` -> pictures by name. The loop moves what is collated to the device of the model. A term is a scalar, the batch's
share of a sum over the global batch (or over all held-out items), or a pair [sum, number] of a mean over what the number counts:
both add up however samples are cut into batches. Auxiliary weights live in the objective, not in the model.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vglamm.config import typed
from vglamm.errors import ConfigError

KINDS = {"perception": "Perception", "segmentation": "Segmentation", "grounding": "Grounding", "finetuning": "Finetuning"}


def objective(name: str, model: Any, tokenizer: Any, **settings: Any) -> Any:
    """The objective of that name, or the ``module:Class`` that it says, over a model. Settings that it does not know or of another
    type, or another name, are a ConfigError."""
    if ":" not in name and name not in KINDS:
        raise ConfigError(f"objective {name!r}", f"one of {', '.join(KINDS)}, or module:Class", "fix the recipe")
    module, _, kind_name = name.partition(":") if ":" in name else (f"vglamm.objectives.{name}", "", KINDS[name])
    try:
        kind = getattr(import_module(module), kind_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"objective {name!r} ({error})", "module:Class that can be imported", "fix the recipe") from error
    settings = typed(kind, settings, "settings.")
    try:
        return kind(model, tokenizer, **settings)
    except TypeError as error:
        raise ConfigError(
            f"settings {sorted(settings)} for {name} ({error})", "settings that it knows", "fix the recipe"
        ) from error
