"""Adapters from a tower's width to the language width: a two-layer MLP, then pooling of the token grid."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class Adapter(nn.Module):
    """Linear, exact GELU, Linear ("mlp2x_gelu" of the released model)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, out)
        self.fc2 = nn.Linear(out, out)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(features)))  # type: ignore[no-any-return]


def pool_grid(tokens: Tensor, grid: int, side: int) -> Tensor:
    """tokens: float[B, G * G, D] -> float[B, side * side, D], adaptive average over the grid of each frame."""
    if grid == side:
        return tokens
    square = rearrange(tokens, "b (h w) d -> b d h w", h=grid, w=grid)
    pooled: Tensor = rearrange(functional.adaptive_avg_pool2d(square, side), "b d h w -> b (h w) d")
    return pooled
