"""Named sizes of the whole model. A preset names every size and carries no weights. Torch-free.

``tiny`` runs on a CPU and has shipped weights; ``small`` is fixed for good, so that a ratio measured on it means the same
everywhere; ``phi3`` is the released model (arXiv 2411.04923).
"""

from __future__ import annotations

from vglamm.config import ModelConfig, SamplingConfig
from vglamm.errors import ConfigError
from vglamm.language.config import LanguageConfig
from vglamm.pixel.config import PixelConfig
from vglamm.vision.config import SpatialConfig, TemporalConfig, VisionConfig


def preset(name: str) -> ModelConfig:
    """The config of that name; another name is a ConfigError that lists them."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r}", f"one of {', '.join(PRESETS)}", "choose one of them or write a config.json")
    return PRESETS[name]()


def tiny() -> ModelConfig:
    """Sizes for a laptop's CPU, trained on the generated world: 8 frames to the LLM (288 spatial and 128 temporal tokens), and
    SAM 2.0's modules with a narrow Hiera at 128 px. Grounding frames default to 8 a second, the world's own rate."""
    width, prompt = 192, 128
    return ModelConfig(
        vision=VisionConfig(
            spatial=SpatialConfig(
                width=128, mlp_width=384, layers=7, heads=4, image_size=96, patch=8, activation="gelu", projection=64
            ),
            temporal=TemporalConfig(width=128, mlp_width=384, depth=6, heads=4, image_size=64, patch=8, layer_scale=0.5),
            frames=8,
            spatial_pool=6,
            temporal_pool=4,
            adapter_width=width,
        ),
        language=LanguageConfig(
            lm=_phi3_lm(vocab=1536, width=width, mlp=384, layers=6, heads=4, context=2048)
            | {"initializer_range": 0.07, "bos_token_id": None, "eos_token_id": 1},
            prompt_width=prompt,
            seg_token=1535,
            stop_tokens=(1,),
            max_new_tokens=128,
        ),
        pixel=PixelConfig(
            size="t",
            overrides=narrow_sam(prompt, side=8),
            image_size=128,
            longest=128,
            prompt_width=prompt,
            fallback=False,
            chunk=16,
        ),
        sampling=SamplingConfig(fps=8.0, limit=None),
        name="tiny",
    )


def small() -> ModelConfig:
    """Fixed: 16 frames; CLIP 12 x 384 and InternVideo2 12 x 384 at 112 px; Phi-3 family 12 x 768; Hiera-T at 256 px.

    Both grids are halved as in the released model (8 x 8 -> 4 x 4), so a video is 512 visual tokens.
    """
    width, side = 768, 256
    return ModelConfig(
        vision=VisionConfig(
            spatial=SpatialConfig(width=384, mlp_width=1536, layers=12, heads=6, image_size=112, patch=14, projection=384),
            temporal=TemporalConfig(width=384, mlp_width=1536, depth=12, heads=6, image_size=112, patch=14, layer_scale=0.1),
            frames=16,
            spatial_pool=4,
            temporal_pool=4,
            adapter_width=width,
        ),
        language=LanguageConfig(
            lm=_phi3_lm(vocab=2048, width=width, mlp=2048, layers=12, heads=12, context=2048),
            prompt_width=256,
            seg_token=2047,
            stop_tokens=(2,),
        ),
        pixel=PixelConfig(size="t", overrides=_rope(side // 16), image_size=side, longest=side),
        name="small",
    )


def phi3() -> ModelConfig:
    """The released model: CLIP ViT-L/14 at 336 px, InternVideo2 1B at 224 px, Phi-3-mini-4k-instruct, SAM 2.0 Hiera-L."""
    lm = _phi3_lm(vocab=32064, width=3072, mlp=8192, layers=32, heads=32, context=4096)
    return ModelConfig(
        vision=VisionConfig(),
        language=LanguageConfig(lm=lm | {"sliding_window": 2047, "pad_token_id": 32000, "bos_token_id": 1, "eos_token_id": 32000}),
        pixel=PixelConfig(),
        sampling=SamplingConfig(),
        name="phi3",
    )


PRESETS = {"tiny": tiny, "small": small, "phi3": phi3}


def _phi3_lm(*, vocab: int, width: int, mlp: int, layers: int, heads: int, context: int) -> dict[str, object]:
    return {
        "model_type": "phi3",
        "vocab_size": vocab,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": context,
        "original_max_position_embeddings": context,
        "sliding_window": None,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _rope(side: int) -> dict[str, object]:
    """SAM's memory attention rotates positions on a grid of this side (a sixteenth of the image)."""
    layer = "memory_attention.layer"
    return {f"{layer}.self_attention.feat_sizes": [side, side], f"{layer}.cross_attention.feat_sizes": [side, side]}


def narrow_sam(width: int, *, side: int) -> dict[str, object]:
    """SAM 2 with prompts of this width, a Hiera of 32..256 channels, and mask 0 at inference, the one that training trains."""
    memory, layer = 16, "memory_attention.layer"
    return {
        "image_encoder.trunk.embed_dim": 32,
        "image_encoder.trunk.num_heads": 1,
        "image_encoder.trunk.stages": [1, 2, 3, 1],
        "image_encoder.trunk.global_att_blocks": [5],
        "image_encoder.neck.position_encoding.num_pos_feats": width,
        "image_encoder.neck.d_model": width,
        "image_encoder.neck.backbone_channel_list": [256, 128, 64, 32],
        "memory_attention.d_model": width,
        "memory_attention.num_layers": 2,
        f"{layer}.d_model": width,
        f"{layer}.dim_feedforward": 2 * width,
        f"{layer}.dropout": 0.0,
        f"{layer}.self_attention.dropout": 0.0,
        f"{layer}.cross_attention.dropout": 0.0,
        f"{layer}.self_attention.embedding_dim": width,
        f"{layer}.cross_attention.embedding_dim": width,
        f"{layer}.cross_attention.kv_in_dim": memory,
        **_rope(side),
        "memory_encoder.in_dim": width,
        "memory_encoder.out_dim": memory,
        "memory_encoder.position_encoding.num_pos_feats": memory,
        "memory_encoder.mask_downsampler.embed_dim": width,
        "memory_encoder.fuser.layer.dim": width,
        "memory_encoder.fuser.layer.layer_scale_init_value": 0.1,
        "multimask_output_in_sam": False,
    }
