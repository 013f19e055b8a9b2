"""The golden cases' ``config.json`` -> our config. Sizes that the file leaves out are read off the weights."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from torch import Tensor

from vglamm.config import ModelConfig
from vglamm.language.config import LanguageConfig
from vglamm.pixel.config import PixelConfig
from vglamm.vision.config import SpatialConfig, TemporalConfig, VisionConfig


def model_config(settings: dict[str, Any], weights: dict[str, Tensor]) -> ModelConfig:
    sam, grounding = settings["grounding"]["sam2"], settings["grounding"]
    name = sam["base_config"].split()[0].rsplit("/", 1)[-1].removesuffix(".yaml")  # sam2_hiera_l or sam2.1_hiera_b+
    return ModelConfig(
        vision=_vision(settings),
        language=LanguageConfig(
            lm=settings["llm"],
            prompt_width=grounding["out_dim"],
            seg_token=grounding["seg_token_id"],
            stop_tokens=tuple(stops) if isinstance(stops := settings["llm"]["eos_token_id"], list) else (stops,),
            max_new_tokens=settings["max_new_tokens"],
        ),
        pixel=PixelConfig(
            version="2.1" if name.startswith("sam2.1") else "2.0",
            size=name.rsplit("_", 1)[-1],
            overrides={key: value for key, value in sam["overrides"].items() if key != "image_size"},
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
        spatial_pool=adapters["spatial_pool"][0],
        temporal_pool=adapters["temporal_pool"][0],
        adapter_width=settings["llm"]["hidden_size"],
    )
