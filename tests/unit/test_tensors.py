"""Our safetensors are the library's, written one tensor at a time, whole or not at all."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vglamm.errors import CheckpointError
from vglamm.tensors import CODES, TensorFile, fit, write


def some() -> dict[str, Tensor]:
    """Every type, odd lengths between them, an empty tensor, a scalar, one that is not contiguous."""
    tensors = {f"t{i}": (torch.arange(3 + i) % 2).to(dtype) for i, dtype in enumerate(CODES)}
    return tensors | {"empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5), "turned": torch.randn(3, 5).T}


def plan_of(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}


def test_the_library_and_we_read_the_same(tmp_path: Path) -> None:
    tensors = some()
    write(tmp_path / "a.safetensors", plan_of(tensors), tensors.__getitem__, {"part": "vision"})
    theirs, ours = load_file(tmp_path / "a.safetensors"), TensorFile(tmp_path / "a.safetensors")
    assert theirs.keys() == ours.shapes.keys() == tensors.keys()
    for name, value in tensors.items():
        assert theirs[name].dtype == ours.dtypes[name] == value.dtype
        assert torch.equal(theirs[name], value)
        assert torch.equal(ours.get(name), value)
        assert ours.shapes[name] == tuple(value.shape)
    assert ours.metadata == {"format": "pt", "part": "vision"}


def test_only_one_tensor_is_held_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def get(_: str) -> Tensor:
        nonlocal most
        most = max(most, sum(reference() is not None for reference in alive))
        made = torch.zeros(1000)
        alive.append(weakref.ref(made))
        return made

    write(tmp_path / "a.safetensors", {f"t{i}": (torch.float32, (1000,)) for i in range(8)}, get)
    assert len(alive) == 8
    assert most <= 1


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    save_file({"old": torch.ones(1)}, tmp_path / "a.safetensors")

    def get(_: str) -> Tensor:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        write(tmp_path / "a.safetensors", {"new": (torch.float32, (1,))}, get)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert load_file(tmp_path / "a.safetensors").keys() == {"old"}


def test_a_tensor_that_is_not_as_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a as torch\.float32\[2\]; expected torch\.float32\[3\]"):
        write(tmp_path / "a.safetensors", {"a": (torch.float32, (3,))}, lambda _: torch.zeros(2))


def test_fit_names_everything_at_once() -> None:
    with pytest.raises(CheckpointError) as caught:
        fit("it", {"a": (1,), "b": (2,), "d": (1,)}, {"a": (1,), "b": (3,), "c": (1,)})
    assert caught.value.got == "it with tensors 1 missing: c; 1 extra: d; 1 of another shape: b [2] for [3]"
    fit("it", {"a": (1,)}, {"a": (1,)})


def test_long_lists_are_cut_and_counted() -> None:
    with pytest.raises(CheckpointError, match=r"30 missing: t0, .* and 10 more;"):
        fit("it", {}, {f"t{i}": (1,) for i in range(30)})


def test_a_type_that_torch_files_cannot_hold_here_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"with a F8_E4M3"):
        TensorFile(tmp_path / "a.safetensors")
