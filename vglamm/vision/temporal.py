"""InternVideo2 (stage 2) video tower: the transformer that sees a chunk of frames at once.

Written from the facts of the released weights (arXiv 2403.15377); no library carries it. Pre-norm blocks with RMSNorm in
float32, qkv without bias, RMSNorm on q and k over the whole width before the heads are split, LayerScale and exact GELU; learned
positions are added after the CLS token is put in front; there is no final norm and the last block of the config never runs.
Shapes: see :mod:`vglamm.model`.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vglamm.vision.config import TemporalConfig


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever the input's dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class LayerScale(nn.Module):
    def __init__(self, width: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(init * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_norm = RMSNorm(config.width, config.norm_eps)
        self.k_norm = RMSNorm(config.width, config.norm_eps)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (self.q_norm(q), self.k_norm(k), v))
        out = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(rearrange(out, "b h n d -> b n (h d)"))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.norm_eps)
        self.attn = Attention(config)
        self.ls1 = LayerScale(config.width, config.layer_scale)
        self.norm2 = RMSNorm(config.width, config.norm_eps)
        self.mlp = Mlp(config.width, config.mlp_width)
        self.ls2 = LayerScale(config.width, config.layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class TemporalTower(nn.Module):
    """Frames of a chunk -> features of all their patches."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.Conv3d(
            3, config.width, kernel_size=(1, config.patch, config.patch), stride=(1, config.patch, config.patch)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.chunk * config.grid**2, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: float[B, chunk, 3, h, w], normalised. Returns float[B, chunk * G * G, width], frame by frame, CLS dropped."""
        x = self.patch_embed(rearrange(pixels, "b t c h w -> b c t h w"))
        x = rearrange(x, "b d t h w -> b (t h w) d")
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x[:, 1:]  # type: ignore[no-any-return]
