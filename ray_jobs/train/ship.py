"""The weights in the package: the mean of the last checkpoints of some runs, stored in float16 with their model card.

``python -m ray_jobs.train.ship vglamm/weights/tiny CARD RUN_FOLDER ...``; ``make tiny`` calls it when the last stage is done.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from torch import nn

from ray_jobs.train import store
from vglamm import checkpoint
from vglamm.errors import CheckpointError


def ship(target: Path, card: str, *runs: Path) -> Path:
    """Write the mean of the newest checkpoints of ``runs`` to ``target``, named after that folder. Of runs that began where another
    ended it is often better than the last (arXiv 2203.05482). CheckpointError if a run has none."""
    folders = [_newest(run) for run in runs]
    model = checkpoint.load(folders[0])
    for number, folder in enumerate(folders[1:], 2):
        for part in checkpoint.PARTS:
            store.fill(nn.ModuleDict({"model": model}), part, folder, share=1 / number)
    model.config = replace(model.config, name=target.name)
    return checkpoint.save(model, target, tokenizer=checkpoint.load_tokenizer(folders[0]), card=card, dtype="float16")


def _newest(run: Path) -> Path:
    found = store.latest(run)
    if found is None:
        raise CheckpointError(f"{run} without a checkpoint", "a training run", "train it first: `make -j2 tiny`")
    return found


if __name__ == "__main__":
    target, card, *runs = sys.argv[1:]
    ship(Path(target), Path(card).read_text(encoding="utf-8"), *map(Path, runs))
