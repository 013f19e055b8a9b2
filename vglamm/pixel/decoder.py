"""The pixel part: SAM 2 modules of the sam2 package, prompted by vectors. Shapes: see :mod:`vglamm.model`.

This file holds what one frame needs (features, masks without memory); :mod:`vglamm.pixel.track` carries objects through time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vglamm.errors import ConfigError, MaskError
from vglamm.pixel.config import PixelConfig


def build_sam(config: PixelConfig) -> Any:
    """``SAM2Base`` from the package's own YAML plus overrides.

    Read with OmegaConf and instantiated without Hydra's global state, which ``import sam2`` takes for itself.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder, stem = ("sam2", "sam2") if config.version == "2.0" else ("sam2.1", "sam2.1")
    source = resources.files("sam2") / "configs" / folder / f"{stem}_hiera_{config.size}.yaml"
    tree = OmegaConf.create(source.read_text())
    fallback = "sam_mask_decoder_extra_args.dynamic_multimask"
    overrides = {
        "image_size": config.image_size,
        "binarize_mask_from_pts_for_mem_enc": True,
        f"{fallback}_via_stability": config.fallback,
        f"{fallback}_stability_delta": 0.05,
        f"{fallback}_stability_thresh": 0.98,
        **config.overrides,
    }
    try:
        for name, value in overrides.items():
            OmegaConf.update(tree, f"model.{name}", value, force_add=True)
        sam = instantiate(tree.model, _recursive_=True)
    except (OmegaConfBaseException, InstantiationException) as error:
        raise ConfigError(
            f"pixel overrides that SAM 2 refuses ({error})", "names below `model` of its config", "fix pixel.overrides"
        ) from error
    for layer in _handed_views(sam):
        layer.register_forward_pre_hook(_laid_out)
    return sam


def _handed_views(sam: Any) -> Iterator[nn.Module]:
    """The linear layers that SAM 2 hands permuted views of a batch. Of such torch makes one product for each position or object,
    which is slower than the copy and the single product that :func:`_laid_out` lets it take."""
    for block in sam.memory_encoder.fuser.layers:
        yield block.pwconv1
    for layer in sam.memory_attention.layers:
        yield from (layer.cross_attn_image.k_proj, layer.cross_attn_image.v_proj)


def _laid_out(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in given)


@dataclass(frozen=True)
class Features:
    """Image features of K frames: three levels float[K, C_l, H_l, W_l], finest first, and the coarsest level's positions
    float[1, C, G, G]. They never leave the pixel part."""

    levels: tuple[Tensor, ...]
    position: Tensor

    def __len__(self) -> int:
        return len(self.levels[0])

    def __getitem__(self, frames: slice | Tensor) -> Features:
        return replace(self, levels=tuple(level[frames] for level in self.levels))

    @staticmethod
    def join(parts: list[Features]) -> Features:
        levels = zip(*(part.levels for part in parts), strict=True)
        return Features(tuple(torch.cat(level) for level in levels), parts[0].position)


@dataclass(frozen=True)
class MaskLogits:
    """What the decoder says of P (object, frame) pairs: mask logits float[P, h, w] at a quarter of the image size (before the
    objectness gate), objectness logits float[P] and predicted IoU float[P]."""

    masks: Tensor
    objectness: Tensor
    iou: Tensor


class Pixel(nn.Module):
    """Phases: ``square`` (8-bit frames to pixels), ``features``, ``masks`` (frame by frame) and, in ``track``, ``Tracker``."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        self.sam = build_sam(config)
        if self.sam.hidden_dim != config.prompt_width:
            raise ConfigError(
                f"prompt_width {config.prompt_width}",
                f"SAM's width {self.sam.hidden_dim}",
                "change pixel.prompt_width or the overrides",
            )
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)

    def square(self, frames: Tensor) -> Tensor:
        """uint8[K, 3, h, w] -> float[K, 3, S, S]: normalised, then stretched bilinearly (aspect not kept, no antialias)."""
        pixels = (frames.float() - self.mean) / self.std
        side = self.config.image_size
        pixels = functional.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False, antialias=False)
        return pixels.to(self.sam.no_mem_embed.dtype)

    def features(self, pixels: Tensor) -> Features:
        """float[K, 3, S, S] -> features; the trunk runs once for each frame."""
        out = self.sam.forward_image(pixels)
        levels = tuple(out["backbone_fpn"])
        if pixels.dtype != torch.float32:  # the neck sums in float32; weights in half precision want their own
            levels = tuple(level.to(pixels.dtype) for level in levels)
        return Features(levels, out["vision_pos_enc"][-1][:1])

    def masks(self, features: Features, prompts_PC: Tensor, frames_P: Tensor) -> MaskLogits:
        """Frame by frame, without memory: prompt p on frame ``frames_P[p]`` of ``features``.

        One sparse token, the no-mask embedding as dense prompt, single mask output (the package's fallback to the best of three
        masks works in eval mode if the config has it on).
        """
        if len(prompts_PC) != len(frames_P):
            raise MaskError(
                f"{len(prompts_PC)} prompts for {len(frames_P)} frames", "one frame for each prompt", "repeat the prompts"
            )
        sam = self.sam
        fine, middle, coarse = (level[frames_P] for level in features.levels)
        image = coarse + sam.no_mem_embed.view(1, -1, 1, 1)
        dense = sam.sam_prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand_as(image)
        masks, iou, _, objectness = sam.sam_mask_decoder(
            image_embeddings=image,
            image_pe=sam.sam_prompt_encoder.get_dense_pe().to(image.dtype),
            sparse_prompt_embeddings=prompts_PC[:, None].to(image.dtype),
            dense_prompt_embeddings=dense,
            multimask_output=False,
            repeat_image=False,
            high_res_features=[fine, middle],
        )
        return MaskLogits(masks[:, 0], objectness[:, 0], iou[:, 0])

    @contextmanager
    def prompted(self, prompts_SC: Tensor) -> Iterator[None]:
        """Inside, SAM's prompt encoder appends the vectors to its sparse embeddings."""

        def append(_: nn.Module, __: Any, out: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            sparse, dense = out
            return torch.cat([sparse.to(prompts_SC.dtype), prompts_SC[:, None]], dim=1), dense

        handle = self.sam.sam_prompt_encoder.register_forward_hook(append)
        try:
            yield
        finally:
            handle.remove()


def to_source(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits float[..., h, w] -> float32[..., H, W] by bilinear resize; a pixel belongs to the object where it is > 0."""
    flat = masks.float().reshape(-1, 1, *masks.shape[-2:])
    out = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return out.reshape(*masks.shape[:-2], *size)
