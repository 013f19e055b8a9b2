"""Other people's weights, read one tensor at a time: safetensors or torch's own files, in shards or whole.

This is the only place that opens torch's files, always with ``weights_only=True``: what is more than tensors is refused.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vglamm.errors import CheckpointError
from vglamm.source import TOKENIZER_FILES, fetch
from vglamm.tensors import Shape, TensorFile

PICKLED = (".bin", ".pt", ".pth")
ENVELOPES = ("model", "module", "state_dict")  # where SAM 2, InternVideo2 and others keep the tensors inside their file
ABOUT = ["config.json", "generation_config.json", *TOKENIZER_FILES]


class Published:
    """Tensors of a folder, file, hub id or URL: ``shapes`` and ``dtypes`` at once, ``get`` on demand from the mapped files."""

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source = os.fspath(source)
        self.folder, files = _files(self.source)
        self.shapes: dict[str, Shape] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self._get: dict[str, Callable[[str], Tensor]] = {}
        for file in files:
            shapes, dtypes, get = _open(file)
            if twice := sorted(shapes.keys() & self.shapes.keys()):
                raise CheckpointError(
                    f"{', '.join(twice[:20])} in several files of {self.source}", "each tensor once", "remove the older files"
                )
            self.shapes.update(shapes)
            self.dtypes.update(dtypes)
            self._get.update(dict.fromkeys(shapes, get))

    def get(self, name: str) -> Tensor:
        return self._get[name](name)


def _files(source: str) -> tuple[Path, list[Path]]:
    """The folder and its weight files; safetensors are preferred, torch's files only fetched where there are none."""
    for suffixes in ((".safetensors",), PICKLED):
        try:
            place = fetch(source, [*ABOUT, "*.index.json", *(f"*{suffix}" for suffix in suffixes)])
        except CheckpointError as error:
            if suffixes == PICKLED or error.__cause__ is not None:  # a download that broke off says nothing of what is there
                raise
            continue  # a URL with none of these
        if place.is_file():
            return place.parent, [place]
        found = sorted(file for file in place.iterdir() if file.suffix in suffixes and file.name != "training_args.bin")
        if found:
            _complete(place, found)
            return place, found
    raise CheckpointError(f"no weights in {source}", "*.safetensors, *.bin or *.pt", "check the path")


def _complete(folder: Path, files: list[Path]) -> None:
    """Every shard that an index speaks of is there."""
    for index in sorted(folder.glob(f"*{files[0].suffix}.index.json")):
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # the last two: of JSON of another shape
            raise CheckpointError(f"{index}, which is no index ({error})", "JSON with a weight_map", "fetch it again") from error
        if missing := sorted(wanted - {file.name for file in files}):
            raise CheckpointError(f"{folder} without {', '.join(missing)}", f"every shard in {index.name}", "fetch the rest")


def _open(file: Path) -> tuple[dict[str, Shape], dict[str, torch.dtype], Callable[[str], Tensor]]:
    if file.suffix not in PICKLED:
        opened = TensorFile(file)
        return opened.shapes, opened.dtypes, opened.get
    tree = _unpickle(file)
    while (inner := next((tree[key] for key in ENVELOPES if isinstance(tree.get(key), dict)), None)) is not None:
        tree = inner
    if strange := sorted(str(name) for name, value in tree.items() if not isinstance(value, Tensor)):
        raise CheckpointError(
            f"{file} with {', '.join(strange[:20])}, which are no tensors", "names -> tensors", "is this a file of weights?"
        )
    shapes = {name: tuple(value.shape) for name, value in tree.items()}
    return shapes, {name: value.dtype for name, value in tree.items()}, tree.__getitem__


def _unpickle(file: Path) -> dict[str, Any]:
    try:
        try:
            tree = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files from before torch 1.6 cannot be mapped
            tree = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{file}, which is damaged or holds more than tensors ({first})",
            "a file of tensors alone (others are never unpickled)",
            "get the weights as safetensors",
        ) from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{file} with a {type(tree).__name__}", "names -> tensors", "is this a file of weights?")
    return tree
