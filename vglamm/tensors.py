"""Safetensors files written and read one tensor at a time.

The ``safetensors`` package writes only what is in memory as a whole; a language part is 7.6 GB, so files are written here from
tensors as they come (https://huggingface.co/docs/safetensors/index#format: eight bytes of header length, a JSON header, data).
Reading is the package's own.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vglamm.errors import CheckpointError

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TYPES = {code: dtype for dtype, code in CODES.items()}
Shape = tuple[int, ...]
Plan = Mapping[str, tuple[torch.dtype, Shape]]


def write(path: Path, plan: Plan, get: Callable[[str], Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write the tensors of ``plan`` (name -> dtype, shape) to ``path``; ``get(name)`` is called once for each, one at a time.

    The file appears whole or not at all. A tensor of another shape or dtype than planned is a CheckpointError.
    """
    names = sorted(plan, key=lambda name: (-plan[name][0].itemsize, name))  # wide types first, so that every tensor is aligned
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name in names:
        dtype, shape = plan[name]
        size = dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for name in names:
                tensor = get(name).detach().cpu().contiguous()
                if (tensor.dtype, tuple(tensor.shape)) != plan[name]:
                    got = f"{name} as {tensor.dtype}{list(tensor.shape)}"
                    raise CheckpointError(got, f"{plan[name][0]}{list(plan[name][1])} as planned", "report this as a bug")
                tensor.reshape(-1).view(torch.uint8).numpy().tofile(file)
        Path(partial).chmod(0o644)  # temporary files are private; a checkpoint is not
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


class TensorFile:
    """A safetensors file: names, shapes, dtypes at once, tensors on demand. Anything else (a pickle too) is a CheckpointError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = cast(Any, safe_open)(path, framework="pt")
        except FileNotFoundError as error:
            raise CheckpointError(f"no file {path}", "a safetensors file", "check that the checkpoint is complete") from error
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}, which is no safetensors file or is damaged ({error})",
                "safetensors (pickled weights are never loaded)",
                "fetch it again, or convert foreign weights with `vglamm convert`",
            ) from error
        self.metadata: dict[str, str] = self.file.metadata() or {}
        slices = {name: self.file.get_slice(name) for name in self.file.keys()}  # noqa: SIM118
        self.shapes: dict[str, Shape] = {name: tuple(part.get_shape()) for name, part in slices.items()}
        codes = {name: part.get_dtype() for name, part in slices.items()}
        if strange := sorted(f"{name} {code}" for name, code in codes.items() if code not in TYPES):
            raise CheckpointError(f"{path} with {_some(strange)}", f"types among {', '.join(TYPES)}", "convert the weights first")
        self.dtypes = {name: TYPES[code] for name, code in codes.items()}

    def get(self, name: str) -> Tensor:
        """The tensor, mapped from the file: its memory is the file's until it is changed or cast."""
        return self.file.get_tensor(name)  # type: ignore[no-any-return]


def fit(what: str, given: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    """Names and shapes must be the expected ones; CheckpointError names what is missing, extra or of another shape."""
    problems = []
    if missing := sorted(set(expected) - set(given)):
        problems.append(f"{len(missing)} missing: {_some(missing)}")
    if extra := sorted(set(given) - set(expected)):
        problems.append(f"{len(extra)} extra: {_some(extra)}")
    both = sorted(set(given) & set(expected))
    if shapes := [
        f"{name} {list(given[name])} for {list(expected[name])}" for name in both if tuple(given[name]) != tuple(expected[name])
    ]:
        problems.append(f"{len(shapes)} of another shape: {_some(shapes)}")
    if problems:
        raise CheckpointError(
            f"{what} with tensors {'; '.join(problems)}",
            "exactly the config's tensors",
            "check that config and weights belong together",
        )


def _some(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
