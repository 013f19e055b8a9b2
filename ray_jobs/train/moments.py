"""AdamW's state as whole tensors by parameter name, in one safetensors file.

No pickle, and nothing of how the run was cut: it goes on with another number of workers, at another ZeRO stage, or in one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from vglamm.errors import CheckpointError
from vglamm.tensors import TensorFile, write

FILE = "optimiser.safetensors"
FIRST, SECOND, MASTER = "exp_avg", "exp_avg_sq", "master"
"""The moments (Kingma and Ba, arXiv 1412.6980), and float32 weights where those of the model are bfloat16."""
State = Mapping[str, Mapping[str, Tensor]]


def write_moments(folder: Path, state: State, steps: Mapping[str, int], trained: Iterable[str]) -> None:
    """state: kind -> parameter -> tensor; steps: updates that each parameter has had; trained: every trained parameter, those that
    had no update yet too."""
    tensors = {f"{kind}.{name}": tensor for kind, found in state.items() for name, tensor in found.items()}
    plan = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    notes = {"steps": json.dumps(dict(steps)), "trained": json.dumps(sorted(trained))}
    write(folder / FILE, plan, lambda name: tensors[name], notes)


class Moments:
    """What ``write_moments`` wrote. A run that trains other parameters is a CheckpointError."""

    def __init__(self, folder: Path, trained: Iterable[str]) -> None:
        self.file = TensorFile(folder / FILE)
        self.steps: dict[str, int] = json.loads(self.file.metadata["steps"])
        before, now = set(json.loads(self.file.metadata["trained"])), set(trained)
        if before != now:
            changed = ", ".join(sorted(before ^ now)[:5])
            got = f"{len(before ^ now)} tensors that are trained in only one of checkpoint and recipe ({changed})"
            raise CheckpointError(got, "the same trained tensors", "keep `train`, or start a run of another name with `init`")

    def get(self, kind: str, name: str) -> Tensor | None:
        key = f"{kind}.{name}"
        return self.file.get(key) if key in self.file.shapes else None
