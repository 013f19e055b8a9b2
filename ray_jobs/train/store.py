"""The folders of a run: one for each kept step, whole or not at all; what training needs beside the model; where weights start."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ray_jobs.train.recipes import Recipe
from vglamm import checkpoint
from vglamm.config import ModelConfig
from vglamm.errors import CheckpointError, ConfigError
from vglamm.model import VideoGLaMM
from vglamm.objectives import objective
from vglamm.presets import PRESETS, preset
from vglamm.tensors import TensorFile, fit, write

PARTS = ("vision", "language", "pixel")
HEADS = "heads."
STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class State:
    """How far a run is. consumed: samples used by all steps so far, over all ranks."""

    step: int = 0
    consumed: int = 0


def folder_name(step: int) -> str:
    return f"step-{step:07d}"


def latest(run: Path) -> Path | None:
    """The newest complete step folder of a run, or None."""
    steps = sorted((path for path in run.glob("step-*") if STEP.fullmatch(path.name)), key=lambda path: path.name, reverse=True)
    return next((path for path in steps if complete(path)), None)


def complete(folder: Path) -> bool:
    """Whether every file that was written is there in full: a copy to storage may have been cut off."""
    try:
        sizes = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Hold a run's folder: two processes in one run would write over each other's steps. ConfigError if another one holds it."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"a second start of the run {run.name}",
                "one process at a time",
                "wait for the first to end, or choose another --name",
            ) from error
        yield  # the lock goes with the process, however it ends


def prune(run: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest step folders, and what a killed run left half-written."""
    steps = sorted(path for path in run.glob("step-*") if STEP.fullmatch(path.name))
    whole = [path for path in steps if complete(path)]
    for path in [*whole[:-keep], *(path for path in steps if path not in whole), *run.glob(".step-*.partial")]:
        shutil.rmtree(path)


def write_model(folder: Path, objective: nn.Module, weights: dict[str, Tensor], tokenizer: Any, state: State) -> None:
    """The model as a checkpoint that ``vglamm`` loads, the objective's heads, and ``state.json``."""
    model = objective.model
    assert isinstance(model, VideoGLaMM)
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):  # ZeRO 3 leaves empty tensors in the module
        model = checkpoint.skeleton(model.config)
    own = {name.removeprefix("model."): tensor for name, tensor in weights.items() if name.startswith("model.")}
    heads = {name: tensor for name, tensor in weights.items() if not name.startswith("model.")}
    checkpoint.save(model, folder, tokenizer=tokenizer, state=own)
    if heads:
        plan = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in heads.items()}
        write(folder / "heads.safetensors", plan, lambda name: heads[name])
    (folder / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")


def seal(folder: Path) -> None:
    """Note the files of this folder and their sizes; ``complete`` compares them."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "files.json"]
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    (folder / "files.json").write_text(json.dumps(sizes), encoding="utf-8")


def read_state(folder: Path) -> State:
    try:
        return State(**json.loads((folder / "state.json").read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise CheckpointError(
            f"{folder} without a readable state.json ({error})", "a checkpoint of a training run", "choose another"
        ) from error


def model_config(recipe: Recipe) -> ModelConfig:
    config = preset(recipe.preset) if recipe.preset in PRESETS else checkpoint.load_config(recipe.preset)
    return config if recipe.lora is None else replace(config, language=replace(config.language, lora=recipe.lora))


def tokenizer_of(recipe: Recipe) -> Any:
    if recipe.tokenizer == "world":
        from vglamm.data.world.tokenizer import build_tokenizer

        return build_tokenizer()
    return checkpoint.load_tokenizer(recipe.tokenizer)


def build(recipe: Recipe, tokenizer: Any) -> Any:
    """The objective around a model of random weights, the same on every rank."""
    torch.manual_seed(recipe.seed)
    given = {} if recipe.data.difficulty is None else {"difficulty": recipe.data.difficulty}
    model, settings = VideoGLaMM(model_config(recipe)), given | recipe.settings
    return objective(recipe.objective, model, tokenizer, **settings)


def start_weights(objective: Any, recipe: Recipe) -> None:
    """Fill the parts that ``init`` names, each strictly; with the mean of those sources where it lists several."""
    sources = dict.fromkeys(PARTS, recipe.init["all"]) if "all" in recipe.init else {}
    sources |= {part: source for part, source in recipe.init.items() if part != "all"}
    for part, listed in sources.items():
        for number, source in enumerate([listed] if isinstance(listed, str) else listed, 1):
            fill(objective, part, _resolve(recipe, str(source), part), share=1 / number)


def resume_weights(objective: Any, folder: Path) -> None:
    """Fill everything from a step folder of this run."""
    for part in PARTS:
        fill(objective, part, folder)
    if any(name.startswith(HEADS) for name in objective.state_dict()):
        fill(objective, "heads", folder)


def fill(objective: Any, part: str, folder: Path, share: float = 1.0) -> None:
    """Copy a part's tensors from a checkpoint folder; below 1, ``share`` of them and the rest of what was there. Strict; only
    low-rank adapters that the checkpoint lacks keep their start."""
    file = TensorFile(folder / f"{part}.safetensors")
    tied: dict[str, str] = json.loads(file.metadata.get("tied", "{}"))
    prefix = HEADS if part == "heads" else f"model.{part}."
    state = {name: tensor for name, tensor in objective.state_dict().items() if name.startswith(prefix)}
    names = {name: name if part == "heads" else name.removeprefix(prefix) for name in state}
    stored = {**file.shapes, **{name: file.shapes[kept] for name, kept in tied.items()}}
    if not any(".lora_" in name for name in stored):
        names = {name: source.replace(".base_layer.", ".") for name, source in names.items() if ".lora_" not in name}
    fit(str(file.path), stored, {source: tuple(state[name].shape) for name, source in names.items()})
    with torch.no_grad():
        of_storage = {state[name].data_ptr(): (name, source) for name, source in names.items()}  # tied tensors are one
        for name, source in of_storage.values():
            given = file.get(tied.get(source, source)).to(state[name])
            state[name].copy_(given if share == 1 else torch.lerp(state[name], given, share))


def _resolve(recipe: Recipe, source: str, part: str) -> Path:
    for run in (Path(recipe.storage) / source, Path(source)):
        if (step := latest(run)) is not None:
            return step
    return checkpoint.resolve(source, part=None if part == "heads" else part)
