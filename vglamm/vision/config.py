"""Sizes of the vision part. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from vglamm.errors import ConfigError


def _divides(name: str, value: int, of: str, whole: int) -> None:
    if value <= 0 or whole % value:
        raise ConfigError(f"{name} {value} with {of} {whole}", f"a divisor of {of}", "change one of them")


@dataclass(frozen=True)
class SpatialConfig:
    """The frame-wise tower: a CLIP vision transformer.

    select_layer: the hidden state that leaves the tower (-2: the last but one, as published). normalise: mean and std of
    0..1 RGB.
    """

    width: int = 1024
    mlp_width: int = 4096
    layers: int = 24
    heads: int = 16
    image_size: int = 336
    patch: int = 14
    activation: str = "quick_gelu"
    projection: int = 768
    select_layer: int = -2
    norm_eps: float = 1e-5
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        _divides("spatial heads", self.heads, "width", self.width)
        _divides("spatial patch", self.patch, "image_size", self.image_size)
        if not -self.layers - 1 <= self.select_layer <= -1:
            raise ConfigError(
                f"select_layer {self.select_layer}",
                f"-1 to {-self.layers - 1} ({self.layers} layers)",
                "count from the last hidden state",
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch


@dataclass(frozen=True)
class TemporalConfig:
    """The chunk-wise tower: InternVideo2 (stage 2).

    chunk: frames that attend to each other. select_block: index of the block whose output leaves the tower, counted from the
    end as published (-2: the last block never runs and carries no weights here). mlp_width: ``int(width * 48 / 11)`` in the
    released model. layer_scale: initial value of LayerScale; the published one is made for long training.
    """

    width: int = 1408
    mlp_width: int = 6144
    depth: int = 40
    heads: int = 16
    image_size: int = 224
    patch: int = 14
    chunk: int = 4
    select_block: int = -2
    norm_eps: float = 1e-6
    layer_scale: float = 1e-5
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _divides("temporal heads", self.heads, "width", self.width)
        _divides("temporal patch", self.patch, "image_size", self.image_size)
        if not -self.depth <= self.select_block <= -1:
            raise ConfigError(
                f"select_block {self.select_block}", f"-1 to {-self.depth} ({self.depth} blocks)", "count from the last block"
            )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch

    @property
    def blocks(self) -> int:
        """Blocks that run, and so exist."""
        return self.depth + self.select_block + 1


@dataclass(frozen=True)
class VisionConfig:
    """Both towers and their adapters to the language width.

    frames: T, frames of a video that the LLM sees. spatial_pool, temporal_pool: side of the token grid of one frame after
    adaptive average pooling. adapter_width: hidden and output width of each two-layer adapter (the language width D).
    """

    spatial: SpatialConfig = SpatialConfig()
    temporal: TemporalConfig = TemporalConfig()
    frames: int = 16
    spatial_pool: int = 12
    temporal_pool: int = 8
    adapter_width: int = 3072

    def __post_init__(self) -> None:
        _divides("temporal chunk", self.temporal.chunk, "frames", self.frames)

    @property
    def video_tokens(self) -> int:
        """N for a video: all spatial tokens, then all temporal tokens."""
        return self.frames * (self.spatial_pool**2 + self.temporal_pool**2)

    @property
    def image_tokens(self) -> int:
        """N for a single image: spatial tokens, not pooled."""
        return self.spatial.grid**2
