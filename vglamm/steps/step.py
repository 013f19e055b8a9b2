"""What the three steps share: a part on its device, in its dtype."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import nn

from vglamm import checkpoint
from vglamm.checkpoint import Dtype, Source, as_dtype

Part = TypeVar("Part", bound=nn.Module)


class Step(Generic[Part]):
    """part, device, dtype (None keeps the part's own). A step takes the part over: it moves it to the device, casts its parameters
    (never its buffers: means and the frequencies of position codes stay float32) and puts it in eval mode."""

    def __init__(self, part: Part, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> None:
        self.device = torch.device(device)
        self.dtype = as_dtype(dtype) or next(p.dtype for p in part.parameters() if p.is_floating_point())
        self.part = part.to(self.device).eval()
        self._cast(self.dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        for parameter in self.part.parameters():
            if parameter.is_floating_point():  # quantised weights are whole numbers and stay so
                parameter.data = parameter.data.to(dtype)


def suited(source: Source, part: str, device: torch.device | str, dtype: Dtype) -> Dtype:
    """The dtype to compute a stored part in: the one asked for, else (None) the stored one, except that float16, a dtype to store
    in, becomes float32 on a CPU."""
    stored = dtype is None and torch.device(device).type == "cpu" and checkpoint.stored_dtype(source, part)
    return torch.float32 if stored == torch.float16 else dtype
