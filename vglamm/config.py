"""The config of a whole model: one frozen dataclass of three, JSON both ways, widths that must agree compared here.

Torch-free: a driver reads a recipe without loading the model's libraries.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from vglamm.errors import ConfigError
from vglamm.language.config import LanguageConfig
from vglamm.pixel.config import PixelConfig
from vglamm.vision.config import VisionConfig

T = TypeVar("T")
FORMAT = 1


@dataclass(frozen=True)
class SamplingConfig:
    """How frames are picked unless the user says otherwise.

    fps: grounding frames per second; None takes every ``round(average fps)``-th frame, as published. limit: grounding frames at
    most (thinned evenly), None for no limit.
    """

    fps: float | None = None
    limit: int | None = 64


@dataclass(frozen=True)
class ModelConfig:
    """Everything that ``VideoGLaMM(config)`` needs; ``name`` is the preset or checkpoint it came from."""

    vision: VisionConfig
    language: LanguageConfig
    pixel: PixelConfig
    sampling: SamplingConfig = SamplingConfig()
    name: str = "custom"

    def __post_init__(self) -> None:
        _agree("vision.adapter_width", self.vision.adapter_width, "language width", self.language.width)
        _agree("language.prompt_width", self.language.prompt_width, "pixel.prompt_width", self.pixel.prompt_width)
        needed = self.vision.video_tokens + 32
        if needed > self.language.context:
            raise ConfigError(
                f"a context of {self.language.context} tokens",
                f"at least {needed} ({self.vision.video_tokens} visual tokens and a question)",
                "pool more, show fewer frames, or take an LM with a longer context",
            )

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"text that is not JSON ({error})", "a model config", "check config.json") from error
        if not isinstance(tree, dict) or tree.pop("format", None) != FORMAT:
            raise ConfigError("a config of another format", f"format {FORMAT}", "convert the checkpoint with `vglamm convert`")
        return from_tree(ModelConfig, tree)


def text_of(path: str | os.PathLike[str]) -> str:
    """What a file of settings, or of a token, says. ConfigError if that is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{os.fspath(path)}, which is not UTF-8 ({error.reason})", "a text in UTF-8", "save it as UTF-8"
        ) from error


def tree_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, for :func:`from_tree`. ConfigError for anything else."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        tree = OmegaConf.to_container(OmegaConf.create(text_of(path)), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{os.fspath(path)}, which cannot be read ({error})", "YAML", "fix it") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{os.fspath(path)} without settings", "a mapping", "see docs, or those that are named")
    return {str(key): value for key, value in tree.items()}


def profile(kind: type[T], package: str, name: str) -> T:
    """A named profile of ``package`` (its ``profile_files``), or a YAML file. ConfigError for an unknown name or key."""
    folder = Path(str(resources.files(package))) / "profile_files"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name in known:
        return from_tree(kind, tree_of(folder / f"{name}.yaml") | {"name": name})
    if not Path(name).is_file():
        raise ConfigError(f"profile {name!r}", f"one of {', '.join(known)}, or a YAML file", "check the name")
    return from_tree(kind, tree_of(name))


def from_tree(kind: type[T], tree: dict[str, Any], path: str = "") -> T:
    """Build a frozen config from plain values; unknown names, missing names and wrong types are a ConfigError that names them."""
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(tree) - set(known)):
        raise ConfigError(
            f"unknown {', '.join(path + name for name in unknown)}", f"names among {sorted(known)}", "remove or rename them"
        )
    values = {name: _value(hints[name], value, path + name) for name, value in tree.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(
            f"an incomplete {path or kind.__name__} ({error})", f"the fields {sorted(known)}", "add what is missing"
        ) from error


def typed(kind: type, values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """``values`` as keywords of ``kind``, whose annotations say what each may be; names that it has not are left to itself. A whole
    number does for a float. ConfigError names what is of another type."""
    begin = kind.__init__  # type: ignore[misc]
    stated = getattr(begin, "__annotations__", {})
    asked = type("Asked", (), {"__annotations__": {name: stated[name] for name in values if name in stated}})
    hints = typing.get_type_hints(asked, globalns=getattr(begin, "__globals__", {}))
    return {name: _value(hints[name], value, path + name) if name in hints else value for name, value in values.items()}


def _value(hint: Any, value: Any, path: str) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    hint = next(option for option in options if option is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_tree(hint, value, path + ".")  # type: ignore[arg-type]
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(hint)[0]
        return tuple(_value(inner, item, f"{path}[{i}]") for i, item in enumerate(value))
    plain = typing.get_origin(hint) or hint
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if plain is not Any and (not isinstance(value, plain) or (plain is int and isinstance(value, bool))):
        raise ConfigError(f"{path}={value!r}", f"a value of type {getattr(hint, '__name__', hint)}", "fix the value")
    return value


def at_least(least: float, values: Mapping[str, float], fix: str) -> None:
    """ConfigError that names the numbers below ``least``, or that are none (nan, infinity)."""
    if wrong := [f"{name}={value:g}" for name, value in values.items() if not least <= value < math.inf]:
        raise ConfigError(", ".join(wrong), f"at least {least:g}" if least else "0 or more", fix)


def _agree(a: str, x: int, b: str, y: int) -> None:
    if x != y:
        raise ConfigError(f"{a} = {x} and {b} = {y}", "equal widths", "change one of them")
