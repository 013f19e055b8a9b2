"""Sizes of the pixel part: a SAM 2 config of the sam2 package and what is changed in it. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vglamm.errors import ConfigError

SIZES = ("t", "s", "b+", "l")
VERSIONS = ("2.0", "2.1")


@dataclass(frozen=True)
class PixelConfig:
    """version: SAM "2.0" (as published) or "2.1". size: Hiera "t", "s", "b+" or "l". overrides: dotted names below ``model`` of
    the package's config -> values. longest: longest side of the 8-bit grounding frames; image_size: side of the square that the
    trunk sees. memory_dtype: of the memories between frames. chunk: frames through the trunk at once. cache: frames whose
    features anchor mode keeps for its second pass. anchors: frames that anchor mode prompts."""

    version: str = "2.0"
    size: str = "l"
    overrides: dict[str, Any] = field(default_factory=dict)
    image_size: int = 1024
    longest: int = 1024
    prompt_width: int = 256
    memory_dtype: str = "bfloat16"
    fallback: bool = True
    chunk: int = 4
    cache: int = 64
    anchors: int = 8
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise ConfigError(f"SAM version {self.version!r}", f"one of {VERSIONS}", "fix pixel.version")
        if self.size not in SIZES:
            raise ConfigError(f"Hiera size {self.size!r}", f"one of {SIZES}", "fix pixel.size")
        if self.image_size % 32:
            raise ConfigError(f"image_size {self.image_size}", "a multiple of 32", "fix pixel.image_size")
