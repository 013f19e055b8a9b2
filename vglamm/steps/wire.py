"""Visual tokens between torch and numpy."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_wire(tokens: Tensor) -> NDArray[Any]:
    """A tensor as numpy; bfloat16, which numpy lacks, as uint16 of the same bits."""
    tokens = tokens.cpu()
    return (tokens.view(torch.uint16) if tokens.dtype == torch.bfloat16 else tokens).numpy()


def from_wire(tokens: NDArray[Any]) -> Tensor:
    """What :func:`to_wire` made, as a tensor."""
    tensor = torch.from_numpy(tokens)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
