"""Weights of linear layers laid out as oneDNN's kernels read them, for writing on a CPU.

A token costs the time in which all weights come from memory. Laid out in rows or columns, eight tokens at once take three times as
long as one; packed, about twice (``benchmarks/batching.py``), and prompts are read faster too. Only float32 on a CPU has such
kernels here, and only matrices larger than a core's cache gain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 2**19
"""Weights of a matrix (2 MB in float32) from which on packing pays."""
ROWS = 4
"""Fewer tokens than these are filled up with zeros: the kernels read weights slower for one row than for four."""


class Packed(nn.Module):
    """``nn.Linear`` for inference: float32[..., in] -> float32[..., out]. The layer that it was made of may be let go."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, given: Tensor) -> Tensor:
        rows = given.flatten(0, -2) if given.dim() > 1 else given[None]
        count = len(rows)
        if count < ROWS:
            rows = functional.pad(rows, (0, 0, 0, ROWS - count))
        made = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return made[:count].reshape(*given.shape[:-1], -1)  # type: ignore[no-any-return]


def pack(part: nn.Module, least: int = LEAST) -> None:
    """Replace the large float32 linear layers of a part on a CPU. It can be neither trained nor saved after that; where torch was
    built without oneDNN it stays as it is."""
    if not torch.backends.mkldnn.is_available():
        return
    for name, child in part.named_children():
        if type(child) is not nn.Linear:  # quantised and adapted layers are of other classes; theirs inside are found
            pack(child, least)
        elif child.weight.dtype == torch.float32 and child.weight.device.type == "cpu" and child.weight.numel() >= least:
            setattr(part, name, Packed(child))
