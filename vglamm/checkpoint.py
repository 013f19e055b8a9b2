"""A checkpoint is a folder: config.json, one safetensors file for each part, the tokenizer, a model card (README.md).

Loading is strict (every tensor, no other tensor, the right shapes), needs no more memory than the weights, and never unpickles.
"""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vglamm.config import ModelConfig
from vglamm.errors import CheckpointError, ConfigError, EnvironmentProblem
from vglamm.identity import identity, load_config, model_hash
from vglamm.source import PARTS, TOKENIZER_FILES, fetch, resolve
from vglamm.tensors import Plan, TensorFile, fit, write

if TYPE_CHECKING:
    from vglamm.language.lm import Language
    from vglamm.model import VideoGLaMM
    from vglamm.pixel.decoder import Pixel
    from vglamm.vision.encoder import Vision

__all__ = ["identity", "load", "load_config", "load_tokenizer", "model_hash", "resolve", "save", "skeleton", "stored_dtype"]

log = logging.getLogger(__name__)
Source = str | os.PathLike[str]
Dtype = torch.dtype | str | None
DTYPES = ("float32", "bfloat16", "float16")


@overload
def load(
    source: Source, *, part: None = None, device: Any = "cpu", dtype: Dtype = None, quantise: str | None = None
) -> VideoGLaMM: ...
@overload
def load(source: Source, *, part: Literal["vision"], device: Any = "cpu", dtype: Dtype = None) -> Vision: ...
@overload
def load(
    source: Source, *, part: Literal["language"], device: Any = "cpu", dtype: Dtype = None, quantise: str | None = None
) -> Language: ...
@overload
def load(source: Source, *, part: Literal["pixel"], device: Any = "cpu", dtype: Dtype = None) -> Pixel: ...
def load(
    source: Source, *, part: str | None = None, device: Any = "cpu", dtype: Dtype = None, quantise: str | None = None
) -> nn.Module:
    """The whole model, or one part from its own file alone, in eval mode on ``device``.

    dtype: of the parameters ("bfloat16", torch.float32, ...); None keeps what is stored. Buffers (means, frequencies of position
    codes) stay as they are, in float32. quantise: "8bit" or "4bit" for the LM's linear layers, over what the config says. Tensors
    that are missing, extra or of another shape are a CheckpointError that names them; for device see :func:`as_device`.
    """
    if part is not None and part not in PARTS:
        raise CheckpointError(f"part {part!r}", f"one of {', '.join(PARTS)}", "name a part, or none for the whole model")
    device = as_device(device)
    folder = resolve(source, part=part)
    config = load_config(folder)
    if quantise is not None:
        config = replace(config, language=replace(config.language, quantise=quantise))
    model = skeleton(config, part)
    for name in (part,) if part else PARTS:
        quantised = name == "language" and bool(config.language.quantise)
        _fill(model if part else getattr(model, name), folder / f"{name}.safetensors", device, as_dtype(dtype), quantised)
    return model.to(device).eval()


def stored_dtype(source: Source, part: str = "language") -> torch.dtype:
    """The dtype in which most tensors of a part are stored."""
    file = TensorFile(resolve(source, part=part) / f"{part}.safetensors")
    found = [dtype for dtype in file.dtypes.values() if dtype.is_floating_point]
    return max(set(found), key=found.count) if found else torch.float32


_CLASSES = {
    "vision": "vglamm.vision.encoder:Vision",
    "language": "vglamm.language.lm:Language",
    "pixel": "vglamm.pixel.decoder:Pixel",
    None: "vglamm.model:VideoGLaMM",
}
"""Imported when one is built: the parts are most of what a process imports, and each runs one of them or, to decode, none."""


class _Undrawn(TorchFunctionMode):
    """Random numbers are not drawn for tensors without memory: torch would import its compiler to do that, which takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {**(kwargs or {})}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            tensor = given["tensor"] if "tensor" in given else args[0]
            if tensor.is_meta:
                return tensor
        return func(*args, **given)


def skeleton(config: ModelConfig, part: str | None = None) -> nn.Module:
    """The model, or one part, with buffers but without memory for its parameters (they are on the meta device). ConfigError for
    values that only the libraries that build it know to be wrong."""
    from accelerate import init_empty_weights
    from huggingface_hub.errors import StrictDataclassError

    made = pkgutil.resolve_name(_CLASSES[part])
    try:
        with _Undrawn(), init_empty_weights(include_buffers=False):  # buffers are computed, not loaded: they must be real
            return made(getattr(config, part) if part else config)  # type: ignore[no-any-return]
    except (KeyError, ValueError, TypeError, RuntimeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:300]  # some list all models there are
        raise ConfigError(
            f"the config of {config.name!r}, of which no {part or 'model'} can be made ({type(error).__name__}: {reason})",
            "values that its parts know",
            "fix config.json, or take the checkpoint's own",
        ) from error


def _fill(module: Any, path: Path, device: Any, dtype: torch.dtype | None, quantised: bool) -> None:
    if not path.is_file():
        pickles = sorted(file.name for file in path.parent.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"))
        found = f" (only {', '.join(pickles)}, which is never unpickled)" if pickles else ""
        raise CheckpointError(
            f"{path.parent} without {path.name}{found}", "one safetensors file for each part", "convert it with `vglamm convert`"
        )
    file = TensorFile(path)
    tied: dict[str, str] = json.loads(file.metadata.get("tied", "{}"))
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    fit(path.name, {**file.shapes, **{name: file.shapes[kept] for name, kept in tied.items() if kept in file.shapes}}, expected)
    if quantised:
        from vglamm.language.quantise import fill_quantised

        fill_quantised(module, file.get, set(file.shapes), device=device, dtype=dtype or torch.bfloat16)
        return
    cast = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    state = {name: _moved(file.get(name), device, dtype if name in cast else None) for name in file.shapes}
    module.load_state_dict({**state, **{name: state[kept] for name, kept in tied.items()}}, strict=True, assign=True)
    for name, kept in tied.items():  # one parameter under two names, so that training moves both
        owner, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(owner), attribute, module.get_parameter(kept))


def _moved(tensor: Tensor, device: Any, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)


def as_dtype(dtype: Dtype) -> torch.dtype | None:
    """ "bfloat16" -> torch.bfloat16; None stays None. By name only the types that a part computes in; else any floating type."""
    found = (getattr(torch, dtype) if dtype in DTYPES else None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ConfigError(f"dtype {dtype!r}", "float32, bfloat16 or float16", "choose one of them")
    return found


def as_device(device: torch.device | str) -> torch.device:
    """ "cuda:1" -> the device. ConfigError for a name that torch does not know, EnvironmentProblem for what is not in this
    machine."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r}", "cpu, cuda, cuda:1 or the like", "choose one of them") from error
    if found.type == "meta":
        raise ConfigError("device 'meta', which holds no numbers", "cpu, cuda, cuda:1 or the like", "choose one of them")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # no driver or no such number; a torch that was built without it
        raise EnvironmentProblem(
            f"device {str(found)!r}, which torch cannot use here ({str(error).splitlines()[0]})",
            "a device of this machine",
            "take --device cpu (in a recipe gpu=false), or see what `vglamm doctor` says of the GPU",
        ) from error
    return found


def save(
    model: VideoGLaMM,
    folder: Source,
    *,
    tokenizer: Any = None,
    card: str | None = None,
    dtype: Dtype = None,
    merge_lora: bool = False,
    state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a checkpoint folder; returns it.

    tokenizer: a transformers tokenizer, or a folder to copy its files from. card: text of README.md. dtype: to store parameters
    in, cast one at a time; None keeps theirs. merge_lora: fold the low-rank adapters into their layers, so that the checkpoint
    needs no peft. state: tensors to write instead of the model's own (gathered by a sharded training). An older checkpoint in the
    folder is replaced; if that breaks off, the folder has no config.json and does not load.
    """
    target, config = Path(folder), model.config
    if config.language.quantise:
        raise CheckpointError("a quantised model", "full weights", "load it without quantise, then save")
    tensors = dict(model.state_dict() if state is None else state)
    fit("the model", {k: tuple(v.shape) for k, v in tensors.items()}, {k: tuple(v.shape) for k, v in model.state_dict().items()})
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if merge_lora and config.language.lora is not None:
        from vglamm.language.merge import merged

        tensors, parameters = merged(model.language, tensors, parameters, prefix="language.")
        config = replace(config, language=replace(config.language, lora=None))
    tied = {name: kept for name, kept in _ties(model).items() if name in tensors and kept in tensors}
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").unlink(missing_ok=True)
    for part in PARTS:
        start = f"{part}."
        own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        floats = {name.removeprefix(start) for name in parameters if name.startswith(start)}
        twins = {name.removeprefix(start): kept.removeprefix(start) for name, kept in tied.items() if name.startswith(start)}
        types = {name: as_dtype(dtype) or own[name].dtype if name in floats else own[name].dtype for name in own}
        plan = {name: (types[name], tuple(own[name].shape)) for name in own if name not in twins}
        write_part(target, part, plan, lambda name, own=own, types=types: own[name].to(types[name]), twins)  # type: ignore[misc]
    write_rest(target, config, tokenizer, card)
    return target


def _ties(model: nn.Module) -> dict[str, str]:
    """Second names of parameters that have several -> the first."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {name: kept for name, parameter in named if (kept := first.setdefault(id(parameter), name)) != name}


def write_part(folder: Path, part: str, plan: Plan, get: Callable[[str], Tensor], tied: Mapping[str, str]) -> None:
    """``{part}.safetensors`` with the tensors of ``plan``, without the part's prefix. tied: second names of some of them."""
    notes = {"part": part, **({"tied": json.dumps(dict(tied), sort_keys=True)} if tied else {})}
    write(folder / f"{part}.safetensors", plan, get, notes)


def write_rest(folder: Path, config: ModelConfig, tokenizer: Any, card: str | None) -> None:
    """Tokenizer, model card, and last the config, without which a folder is no checkpoint."""
    if isinstance(tokenizer, str | os.PathLike):
        for name in TOKENIZER_FILES:
            if (file := Path(tokenizer) / name).is_file() and file.parent.resolve() != folder.resolve():
                shutil.copyfile(file, folder / name)
    elif tokenizer is not None:
        tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card or _card(config), encoding="utf-8")
    partial = folder / ".config.json"
    partial.write_text(config.to_json(), encoding="utf-8")
    partial.replace(folder / "config.json")


def _card(config: ModelConfig) -> str:
    vision, lm, pixel = config.vision, config.language.lm, config.pixel
    looks = f"CLIP at {vision.spatial.image_size} px and InternVideo2 at {vision.temporal.image_size} px"
    return (
        f"---\nlibrary_name: vglamm\npipeline_tag: video-text-to-text\n---\n# {config.name}\n\n"
        "A VideoGLaMM model (arXiv 2411.04923): ask a video a question, get text whose phrases carry masks through time.\n\n"
        f"- vision: {vision.frames} frames, {looks}, {vision.video_tokens} tokens\n"
        f"- language: {lm['model_type']}, width {config.language.width}, vocabulary {config.language.vocab}\n"
        f"- pixel: SAM {pixel.version} Hiera-{pixel.size} at {pixel.image_size} px\n\n"
        '```python\nfrom vglamm import checkpoint\n\nmodel = checkpoint.load("path/to/this/folder")\n```\n'
    )


def load_tokenizer(source: Source) -> Any:
    """The transformers tokenizer of a checkpoint. It never runs code from the folder."""
    from transformers import AutoTokenizer

    folder = fetch(source, TOKENIZER_FILES)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise CheckpointError(f"{source} without a tokenizer", "tokenizer.json or tokenizer.model", "save it with its tokenizer")
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"a tokenizer in {source} that does not load ({error})", "files of a transformers tokenizer", "save it again"
        ) from error
