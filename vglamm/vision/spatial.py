"""The CLIP tower (transformers): one frame at a time, hidden state of a layer before the last, CLS dropped."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from vglamm.vision.config import SpatialConfig


class SpatialTower(nn.Module):
    """Frames -> patch features. Only the layers up to ``select_layer`` exist: what comes after them is never computed."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        self.config = config
        self.clip = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.width,
                intermediate_size=config.mlp_width,
                num_hidden_layers=config.layers + config.select_layer + 1,
                num_attention_heads=config.heads,
                image_size=config.image_size,
                patch_size=config.patch,
                hidden_act=config.activation,
                projection_dim=config.projection,
                layer_norm_eps=config.norm_eps,
            )
        )
        self.clip.post_layernorm = nn.Identity()  # only the pooled CLS output passes it, and that is never used

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: float[B, 3, h, w], normalised. Returns float[B, G * G, width]."""
        return self.clip(pixel_values=pixels).last_hidden_state[:, 1:]  # type: ignore[no-any-return]
