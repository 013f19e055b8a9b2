"""The weights in the package: the last checkpoint of a run, stored in float16 with its model card.

``python -m ray_jobs.ship RUN_FOLDER vglamm/weights/tiny CARD``; ``make tiny`` calls it when the last stage is done.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from ray_jobs import store
from vglamm import checkpoint
from vglamm.errors import CheckpointError


def ship(run: Path, target: Path, card: str) -> Path:
    """Write the newest checkpoint of ``run`` to ``target``, named after that folder. CheckpointError if the run has none."""
    found = store.latest(run)
    if found is None:
        raise CheckpointError(f"{run} without a checkpoint", "a training run", "train it first: `make -j2 tiny`")
    model = checkpoint.load(found)
    model.config = replace(model.config, name=target.name)
    return checkpoint.save(model, target, tokenizer=checkpoint.load_tokenizer(found), card=card, dtype="float16")


if __name__ == "__main__":
    run, target, card = sys.argv[1:]
    ship(Path(run), Path(target), Path(card).read_text(encoding="utf-8"))
