"""The vision part: two towers and their adapters, from 8-bit frames to visual tokens. Shapes: see :mod:`vglamm.model`."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from vglamm.errors import VideoError
from vglamm.vision.adapter import Adapter, pool_grid
from vglamm.vision.config import VisionConfig
from vglamm.vision.spatial import SpatialTower
from vglamm.vision.temporal import TemporalTower


class Vision(nn.Module):
    """Phases: ``normalise`` (8-bit frames to pixels), ``towers`` (pixels to features), ``adapt`` (features to tokens).

    A video passes both towers; a single image only the spatial one, and its tokens are not pooled.
    """

    spatial_mean: Tensor
    spatial_std: Tensor
    temporal_mean: Tensor
    temporal_std: Tensor

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.spatial = SpatialTower(config.spatial)
        self.temporal = TemporalTower(config.temporal)
        self.spatial_adapter = Adapter(config.spatial.width, config.adapter_width)
        self.temporal_adapter = Adapter(config.temporal.width, config.adapter_width)
        for name, stats in (("spatial", config.spatial), ("temporal", config.temporal)):
            self.register_buffer(f"{name}_mean", torch.tensor(stats.mean).view(3, 1, 1), persistent=False)
            self.register_buffer(f"{name}_std", torch.tensor(stats.std).view(3, 1, 1), persistent=False)

    def normalise(self, spatial: Tensor, temporal: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """uint8[..., 3, h, w] frames of both towers -> float pixels in the part's dtype."""
        dtype = self.spatial_adapter.fc1.weight.dtype
        pixels = ((spatial.float() / 255 - self.spatial_mean) / self.spatial_std).to(dtype)
        return pixels, None if temporal is None else self.normalise_temporal(temporal)

    def normalise_temporal(self, temporal: Tensor) -> Tensor:
        """``normalise`` for the frames of the temporal tower alone."""
        dtype = self.temporal_adapter.fc1.weight.dtype
        return ((temporal.float() / 255 - self.temporal_mean) / self.temporal_std).to(dtype)

    def towers(self, spatial: Tensor, temporal: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """spatial: float[B, T, 3, h, w]; temporal: float[B, T, 3, h', w'], or None for images (T = 1).

        Returns spatial features float[B, T, G * G, width] and temporal features float[B, T / chunk, chunk * G * G, width].
        """
        frames = spatial.shape[1]
        features = rearrange(self.spatial(rearrange(spatial, "b t c h w -> (b t) c h w")), "(b t) n d -> b t n d", t=frames)
        if temporal is None:
            return features, None
        chunk = self.config.temporal.chunk
        if frames % chunk or temporal.shape[1] != frames:
            raise VideoError(
                f"{frames} spatial and {temporal.shape[1]} temporal frames",
                f"equal numbers, a multiple of {chunk}",
                "repeat the last frame",
            )
        chunks = self.temporal(rearrange(temporal, "b (k t) c h w -> (b k) t c h w", t=chunk))
        return features, rearrange(chunks, "(b k) n d -> b k n d", k=frames // chunk)

    def adapt(self, spatial: Tensor, temporal: Tensor | None) -> Tensor:
        """Features -> visual tokens float[B, N, D]: all spatial ones, frame by frame, then all temporal ones, chunk by chunk."""
        b = len(spatial)
        if temporal is None:
            return self.spatial_adapter(spatial).flatten(1, 2)  # type: ignore[no-any-return]
        config = self.config
        rows = rearrange(self.spatial_adapter(spatial), "b t n d -> (b t) n d")
        looks = rearrange(pool_grid(rows, config.spatial.grid, config.spatial_pool), "(b t) n d -> b (t n) d", b=b)
        rows = rearrange(self.temporal_adapter(temporal), "b k (t n) d -> (b k t) n d", t=config.temporal.chunk)
        moves = rearrange(pool_grid(rows, config.temporal.grid, config.temporal_pool), "(b t) n d -> b (t n) d", b=b)
        return torch.cat([looks, moves], dim=1)

    def forward(self, spatial: Tensor, temporal: Tensor | None) -> Tensor:
        """uint8 frames of B videos (or B images, ``temporal`` None) -> visual tokens float[B, N, D]."""
        return self.adapt(*self.towers(*self.normalise(spatial, temporal)))

    def encode(self, spatial: list[Tensor], temporal: list[Tensor | None]) -> list[Tensor]:
        """uint8[T, 3, h, w] frames of videos and images (temporal None) in any mixture -> visual tokens float[N, D] of each, in
        order. Inputs of equal shape share one pass."""
        groups: dict[tuple[bool, torch.Size], list[int]] = {}
        for b, shown in enumerate(spatial):
            groups.setdefault((temporal[b] is None, shown.shape), []).append(b)
        tokens: dict[int, Tensor] = {}
        for (image, _), members in groups.items():
            looks = torch.stack([spatial[b] for b in members])
            moves = None if image else torch.stack([frames for b in members if (frames := temporal[b]) is not None])
            tokens |= dict(zip(members, self(looks, moves), strict=True))
        if all(moves is None for moves in temporal) and self._learns_moves():
            tokens[0] = tokens[0] + self._ghost()
        return [tokens[b] for b in range(len(spatial))]

    def _learns_moves(self) -> bool:
        return torch.is_grad_enabled() and self.temporal_adapter.fc1.weight.requires_grad

    def _ghost(self) -> Tensor:
        """A zero that ties the temporal adapter to a batch of images alone: ranks of a sharded training must add up gradients
        of the same parameters in the same order."""
        weight = self.temporal_adapter.fc1.weight
        ghost: Tensor = self.temporal_adapter(weight.new_zeros(1, weight.shape[1])).sum() * 0
        return ghost
