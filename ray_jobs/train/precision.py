"""How training computes: in the weights' own dtype, or with products in bfloat16 where that is safe and the device has them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ray_jobs.train.recipes import Recipe

if TYPE_CHECKING:
    from ray_jobs.train.loop import Ranks

log = logging.getLogger(__name__)


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether its hardware multiplies in bfloat16. Where it does not that is emulated, at half the speed of float32 (a step of
    ``tiny-joint`` on a Xeon with AVX-512 alone: 7.2 s, and 3.8 s in float32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        told = getattr(torch.cpu, "get_capabilities", dict)()  # older torches do not say
        return any("bf16" in name and there is True for name, there in told.items())
    return True


def settled(recipe: Recipe, device: torch.device, ranks: Ranks) -> Recipe:
    """The recipe with ``precision: auto`` decided, alike on all ranks: they must compute alike. Every rank must call it."""
    if recipe.precision != "auto":
        return recipe
    able = int(ranks.sum(torch.tensor(float(has_bfloat16(device)))))
    precision = "autocast" if able == ranks.world else "fp32"
    log.info("precision auto: %s (%d of %d ranks have bfloat16)", precision, able, ranks.world)
    return replace(recipe, precision=precision)


class _Widened(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.bfloat16:
            return args[0].clone()  # a copy as well: what takes it may write into it
        return function(*args, **(kwargs or {}))


@contextmanager
def widened(device: torch.device) -> Iterator[None]:
    """Inside, what turns tensors to bfloat16 for speed, as Muon of torch does, leaves them where it would be emulated."""
    if has_bfloat16(device):
        yield
        return
    with _Widened():
        yield


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
