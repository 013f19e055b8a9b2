"""Which model a checkpoint is: its config, and hashes of what is in it. No torch: whoever counts or routes needs no more."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from vglamm.config import ModelConfig, text_of
from vglamm.errors import CheckpointError
from vglamm.source import PARTS, fetch, resolve

Source = str | os.PathLike[str]


def load_config(source: Source) -> ModelConfig:
    """The config of a checkpoint. CheckpointError if there is none, ConfigError if it is not one of ours."""
    folder = fetch(source, ["config.json"])
    try:
        return ModelConfig.from_json(text_of(folder / "config.json"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{source} without config.json", "a checkpoint folder", "convert foreign weights with `vglamm convert`"
        ) from error


def model_hash(source: Source) -> str:
    """sha256, in hex, over the sha256s of config.json and the three weights files: equal hashes mean an equal model.

    Reads every byte once in a process (a file that has not changed since is not read again).
    """
    folder = resolve(source)
    total = hashlib.sha256()
    for name in ("config.json", *(f"{part}.safetensors" for part in PARTS)):
        try:
            stat = (folder / name).stat()
        except OSError as error:
            raise CheckpointError(f"{source} without {name}", "a complete checkpoint", "fetch it whole") from error
        total.update(f"{name} {_digest(folder / name, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return total.hexdigest()


def identity(source: Source) -> str:
    """Name and short hash, ``phi3@0123456789ab``: what ``Answer.model`` carries."""
    return f"{load_config(source).name}@{model_hash(source)[:12]}"


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
