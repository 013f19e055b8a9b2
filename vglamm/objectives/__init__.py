"""What a training stage minimises. Each file holds one objective: it prepares seeds of the generated world on CPU workers,
collates them and turns a batch into losses. A training loop needs nothing else of the model.

An objective has: ``preparer()`` -> picklable callable, seed -> dict of numpy arrays; ``collate(items)`` -> batch;
``count(batch)`` -> float32[k], what its sums are divided by over the global batch; ``forward(batch, totals)`` -> losses with
"loss" the term to minimise; ``validate(items)`` -> metrics. Auxiliary weights live in the objective, not in the model.
"""

from __future__ import annotations

from typing import Any

from vglamm.errors import ConfigError

NAMES = ("perception", "segmentation", "grounding")


def objective(name: str, model: Any, tokenizer: Any, **settings: Any) -> Any:
    """The objective of that name over a model. Settings that it does not know, or another name, are a ConfigError."""
    if name == "perception":
        from vglamm.objectives.perception import Perception as kind
    elif name == "segmentation":
        from vglamm.objectives.segmentation import Segmentation as kind  # type: ignore[assignment]
    elif name == "grounding":
        from vglamm.objectives.grounding import Grounding as kind  # type: ignore[assignment]
    else:
        raise ConfigError(f"objective {name!r}", f"one of {NAMES}", "fix the recipe")
    try:
        return kind(model, tokenizer, **settings)
    except TypeError as error:
        raise ConfigError(
            f"settings {sorted(settings)} for {name} ({error})", "settings that it knows", "fix the recipe"
        ) from error
