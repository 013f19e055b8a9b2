"""Published names of the vision part -> ours. ``None``: dropped on purpose."""

from __future__ import annotations

from vglamm.vision.config import VisionConfig

TEMPORAL = r"model\.vision_tower\.vision_encoder\."
SPATIAL = r"model\.image_vision_tower\.vision_tower\.vision_model\."


def rules(config: VisionConfig) -> list[tuple[str, str | None]]:
    """Regular expressions over published names, first match wins."""
    spatial_layers = config.spatial.layers + config.spatial.select_layer + 1
    return [
        # heads of InternVideo2's pre-training that inference never uses; images never reach this tower
        (TEMPORAL + r"(clip_projector|clip_decoder|final_clip_decoder)\..*", None),
        (TEMPORAL + r"(clip_pos_embed|clip_img_pos_embed|img_pos_embed)", None),
        (r"model\.vision_tower\.vision_proj\..*", None),
        *[(TEMPORAL + rf"blocks\.{i}\..*", None) for i in range(config.temporal.blocks, config.temporal.depth)],
        (TEMPORAL + r"patch_embed\.proj\.(weight|bias)", r"vision.temporal.patch_embed.\1"),
        (TEMPORAL + r"(cls_token|pos_embed|blocks\..*)", r"vision.temporal.\1"),
        # layers after the selected hidden state, and the norm of the pooled output
        *[(SPATIAL + rf"encoder\.layers\.{i}\..*", None) for i in range(spatial_layers, config.spatial.layers)],
        (SPATIAL + r"post_layernorm\..*", None),
        (SPATIAL + r"embeddings\.position_ids", None),
        (SPATIAL + r"(embeddings\..*|pre_layrnorm\..*|encoder\..*)", r"vision.spatial.clip.\1"),
        (r"model\.mm_projector\.0\.(.*)", r"vision.temporal_adapter.fc1.\1"),
        (r"model\.mm_projector\.2\.(.*)", r"vision.temporal_adapter.fc2.\1"),
        (r"model\.image_mm_projector\.0\.(.*)", r"vision.spatial_adapter.fc1.\1"),
        (r"model\.image_mm_projector\.2\.(.*)", r"vision.spatial_adapter.fc2.\1"),
    ]
