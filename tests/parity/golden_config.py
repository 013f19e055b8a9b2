"""The golden cases' ``config.json`` -> our config. What the model knows one value of only is checked, not passed over."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vglamm.config import ModelConfig
from vglamm.language.config import LanguageConfig
from vglamm.pixel.config import PixelConfig
from vglamm.vision.config import SpatialConfig, TemporalConfig, VisionConfig

MULTIMASK = "dynamic_multimask_stability_"
ONLY = {
    "spatial_encoder": {"type": "clip_vision", "select_feature": "patch"},
    "temporal_encoder": {"type": "internvideo2", "tubelet_size": 1, "qk_normalization": True, "qkv_bias": False},
    "adapters": {"type": "mlp2x_gelu"},
}
"""Settings that the published model has and ours has no other value of."""


def model_config(settings: dict[str, Any]) -> ModelConfig:
    """ValueError for a setting that our model does not have."""
    for part, values in ONLY.items():
        for name, value in values.items():
            if (found := settings[part].get(name, value)) != value:
                raise ValueError(f"{part}.{name} {found!r}; this model has {value!r}")
    sam, grounding = settings["grounding"]["sam2"], settings["grounding"]
    own = {f"sam_mask_decoder_extra_args.{key}": sam[key] for key in (f"{MULTIMASK}delta", f"{MULTIMASK}thresh") if key in sam}
    if (binarised := "binarize_mask_from_pts_for_mem_enc") in sam:
        own[binarised] = sam[binarised]
    name = sam["base_config"].split()[0].rsplit("/", 1)[-1].removesuffix(".yaml")  # sam2_hiera_l or sam2.1_hiera_b+
    return ModelConfig(
        vision=_vision(settings),
        language=LanguageConfig(
            lm=_long_enough(settings["llm"]),
            prompt_width=grounding["out_dim"],
            seg_token=grounding["seg_token_id"],
            stop_tokens=tuple(stops) if isinstance(stops := settings["llm"]["eos_token_id"], list) else (stops,),
            max_new_tokens=settings["max_new_tokens"],
        ),
        pixel=PixelConfig(
            version="2.1" if name.startswith("sam2.1") else "2.0",
            size=name.rsplit("_", 1)[-1],
            overrides=own | {key: value for key, value in sam["overrides"].items() if key != "image_size"},
            image_size=sam["overrides"].get("image_size", 1024),
            longest=sam["overrides"].get("image_size", 1024),
            prompt_width=grounding["out_dim"],
            memory_dtype=sam.get("memory_dtype", "bfloat16"),
            fallback=sam.get("dynamic_multimask_via_stability", True),
        ),
        name="golden",
    )


def _vision(settings: dict[str, Any]) -> VisionConfig:
    spatial, temporal, adapters = settings["spatial_encoder"], settings["temporal_encoder"], settings["adapters"]
    width = temporal["embed_dim"]
    return VisionConfig(
        spatial=SpatialConfig(
            width=spatial["hidden_size"],
            mlp_width=spatial["intermediate_size"],
            layers=spatial["num_hidden_layers"],
            heads=spatial["num_attention_heads"],
            image_size=spatial["image_size"],
            patch=spatial["patch_size"],
            activation=spatial["hidden_act"],
            projection=spatial["projection_dim"],
            select_layer=spatial["select_layer"],
        ),
        temporal=TemporalConfig(
            width=width,
            mlp_width=int(width * float(Fraction(temporal["mlp_ratio"]))),
            depth=temporal["depth"],
            heads=temporal["num_heads"],
            image_size=temporal["img_size"],
            patch=temporal["patch_size"],
            chunk=temporal["chunk_size"],
            select_block=temporal["x_vis_return_idx"],
        ),
        frames=settings["num_frames"],
        spatial_pool=_side(adapters["spatial_pool"]),
        temporal_pool=_side(adapters["temporal_pool"]),
        adapter_width=settings["llm"]["hidden_size"],
    )


def _long_enough(llm: dict[str, Any]) -> dict[str, Any]:
    """With room for questions that these files do not ask: plain rotary positions are the same in any context."""
    if llm.get("rope_scaling") or llm.get("rope_parameters", {}).get("rope_type", "default") != "default":
        return llm
    return llm | {"max_position_embeddings": max(llm.get("max_position_embeddings", 0), 4096)}


def _side(pool: list[int]) -> int:
    if len(set(pool)) != 1:
        raise ValueError(f"a pool of {pool}; this model has square ones")
    return pool[0]
