"""How a forward pass computes: in the weights' own dtype, or with products in bfloat16 where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _AttentionInFloat32(TorchFunctionMode):
    """A CPU's bfloat16 attention has a backward pass several times slower than that of float32."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is not functional.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return function(*(given.float() for given in args), **(kwargs or {}))


@contextmanager
def exact_attention(device: torch.device) -> Iterator[None]:
    """Inside, a CPU's attention is computed in float32, whatever autocast says."""
    if device.type != "cpu":
        yield
        return
    with _AttentionInFloat32():
        yield


@contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Products in bfloat16 with float32 weights; on a CPU all but attention."""
    with torch.autocast(device.type, torch.bfloat16), exact_attention(device):
        yield
