"""A second device on a machine that has none: tensors on it are marked, and an operation that mixes them with others fails, as it
would between a CPU and a GPU. Kernels and their numbers stay those of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

THERE = torch.device("cpu", 1)  # "cpu" for kernels and autocast, yet not equal to the CPU
_MOVES = ("to", "copy_", "cpu")


class There(Tensor):
    """A tensor on the second device; what torch makes of it is there too."""


class SecondDevice(TorchFunctionMode):
    """Inside, tensors are made on ``THERE`` and moved there as usual. Only numbers (tensors without dimensions) may be mixed in."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return THERE if isinstance(args[0], There) else func(*args)
        found = [tensor for tensor in _tensors((args, kwargs)) if tensor.ndim or isinstance(tensor, There)]
        there = [tensor for tensor in found if isinstance(tensor, There)]
        if name == "numpy" and there:
            raise RuntimeError("a tensor of the second device as numpy")
        if name not in _MOVES and 0 < len(there) < len(found):
            raise RuntimeError(f"{name} of tensors on two devices")
        goes = {place for place in (*args, *kwargs.values()) if isinstance(place, torch.device)}
        cpu = torch.device("cpu")
        made = func(
            *(cpu if isinstance(given, torch.device) else given for given in args),
            **{key: cpu if isinstance(given, torch.device) else given for key, given in kwargs.items()},
        )
        if name == "to" and len(args) > 1 and isinstance(args[1], Tensor):
            goes = {THERE if isinstance(args[1], There) else cpu}
        if isinstance(made, Tensor) and (goes or name == "cpu"):
            return made.as_subclass(There if THERE in goes else Tensor)
        return made


def put(module: nn.Module) -> None:
    """Move a module's parameters and buffers to the second device, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(parameter.detach().as_subclass(There), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.as_subclass(There)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)
