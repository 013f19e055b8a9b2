"""Published names of the vision part -> ours, by tables. ``None``: dropped on purpose; first match wins."""

from __future__ import annotations

from vglamm.vision.config import SpatialConfig, TemporalConfig, VisionConfig

Rules = list[tuple[str, str | None]]


def rules(config: VisionConfig) -> Rules:
    """The released checkpoint's names."""
    return [
        (r"model\.vision_tower\.vision_proj\..*", None),
        *_internvideo2(r"model\.vision_tower\.vision_encoder\.", config.temporal),
        *_clip(r"model\.image_vision_tower\.vision_tower\.vision_model\.", config.spatial),
        (r"model\.mm_projector\.0\.(.*)", r"vision.temporal_adapter.fc1.\1"),
        (r"model\.mm_projector\.2\.(.*)", r"vision.temporal_adapter.fc2.\1"),
        (r"model\.image_mm_projector\.0\.(.*)", r"vision.spatial_adapter.fc1.\1"),
        (r"model\.image_mm_projector\.2\.(.*)", r"vision.spatial_adapter.fc2.\1"),
    ]


def clip_rules(config: VisionConfig) -> Rules:
    """CLIP's own names, of the vision model or of the whole CLIP; newer transformers write them without ``vision_model.``."""
    return [
        (r"text_model\..*", None),
        (r"(text_projection|visual_projection)\.weight", None),
        (r"logit_scale", None),
        *_clip(r"(?:vision_model\.)?", config.spatial),
    ]


def internvideo2_rules(config: VisionConfig) -> Rules:
    """InternVideo2's own stage-2 names: the video tower among the text tower and the heads that pair the two."""
    return [
        (r"text_encoder\..*", None),
        (r"(vision_proj|text_proj|itm_head)\..*", None),
        (r"temp", None),
        *_internvideo2(r"(?:vision_encoder\.)?", config.temporal),
    ]


def _internvideo2(start: str, config: TemporalConfig) -> Rules:
    return [
        # heads of the pre-training that inference never uses; images never reach this tower
        (start + r"(clip_projector|clip_decoder|final_clip_decoder)\..*", None),
        (start + r"(clip_pos_embed|clip_img_pos_embed|img_pos_embed)", None),
        *[(start + rf"blocks\.{i}\..*", None) for i in range(config.blocks, config.depth)],
        (start + r"patch_embed\.proj\.(weight|bias)", r"vision.temporal.patch_embed.\1"),
        (start + r"(cls_token|pos_embed|blocks\..*)", r"vision.temporal.\1"),
    ]


def _clip(start: str, config: SpatialConfig) -> Rules:
    return [
        # layers after the selected hidden state, and the norm of the pooled output
        *[(start + rf"encoder\.layers\.{i}\..*", None) for i in range(config.layers + config.select_layer + 1, config.layers)],
        (start + r"post_layernorm\..*", None),
        (start + r"embeddings\.position_ids", None),
        (start + r"(embeddings\..*|pre_layrnorm\..*|encoder\..*)", r"vision.spatial.clip.\1"),
    ]
