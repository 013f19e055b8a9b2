"""Objects through time: SAM 2's memory for all objects of a video in one batch. Shapes: see :mod:`vglamm.model`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vglamm.errors import MaskError
from vglamm.pixel.decoder import Features, MaskLogits, Pixel

ABSENT = -1024.0
"""Logit that SAM 2 gives every pixel of an object which its objectness head calls absent."""


@dataclass(frozen=True)
class Clicks:
    """What a person marked of one object, as SAM 2 takes it. points: ``point_coords`` float[1, P, 2] on the square that the trunk
    sees, and their ``point_labels`` [1, P]. mask: logits float[1, 1, h, w] of the mask before, or None."""

    points: dict[str, Tensor]
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.points["point_coords"])


@dataclass(frozen=True)
class Due:
    """A frame that becomes memory when the next one is there. out: of ``SAM2Base.track_step``, the rows of all objects, as what
    the memory encoder and later frames take of it; feats: [h w, S, C] by level, their ``sizes``."""

    out: dict[str, Tensor]
    feats: list[Tensor]
    sizes: list[tuple[int, int]]
    index: int
    first: bool


class Tracker:
    """S objects of one video, prompted on their first frame and then carried by memory (``SAM2Base.track_step``).

    The package's own predictor loops over objects and keeps every frame; here all objects share one batch over expanded image
    features, and of the past only what SAM 2 can still look at is kept: the first frame, the latest ``num_maskmem - 1``
    memories and the latest ``max_obj_ptrs_in_encoder - 1`` pointers. Memory does not grow with the length of the video.

    prompts: vectors float[S, C], or the clicks of one object. frames: length of the grounding sequence (SAM 2.1 scales pointer
    times by it). reverse: time runs backwards. A frame becomes memory when the next one is there: its mask need not wait for that,
    and for the last one it would be in vain. ``ungated`` holds the latest mask logits float[S, h, w] before the objectness gate,
    whose constant would stop a gradient.
    """

    def __init__(self, pixel: Pixel, prompts: Tensor | Clicks, frames: int, *, reverse: bool = False) -> None:
        if isinstance(prompts, Tensor) and (prompts.ndim != 2 or not len(prompts)):
            raise MaskError(f"prompts of shape {list(prompts.shape)}", "[S, C] with S >= 1", "do not track a video without prompts")
        self.pixel, self.prompts = pixel, prompts
        self.frames, self.reverse = frames, reverse
        self.ungated = torch.zeros(0)
        self.memory: dict[str, dict[int, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        self.due: Due | None = None

    def step(self, features: Features, index: int) -> MaskLogits:
        """Masks of all objects on the frame ``index``; ``features`` hold that frame alone, shared by all objects, or one row for
        each object (objects of several videos, in training). Call once a frame, in order.

        Logits are gated: ABSENT everywhere where the objectness is not positive.
        """
        self._remember()
        first = not self.memory["cond_frame_outputs"]
        feats, sizes = self._expand(features)
        with self.pixel.prompted(self.prompts) if first and isinstance(self.prompts, Tensor) else nullcontext():
            out = self._sam_step(feats, features.position, sizes, index, first)
        self.due = Due(
            {name: out[name] for name in ("pred_masks_high_res", "object_score_logits", "obj_ptr")}, feats, sizes, index, first
        )
        return MaskLogits(out["pred_masks"][:, 0], out["object_score_logits"][:, 0], out["ious"])

    def _expand(self, features: Features) -> tuple[list[Tensor], list[tuple[int, int]]]:
        objects = len(self.prompts)
        if len(features) not in (1, objects):
            raise MaskError(
                f"features of {len(features)} frames for {objects} objects",
                "one frame, or one for each object",
                "step frame by frame",
            )
        feats = [level.flatten(2).permute(2, 0, 1).expand(-1, objects, -1) for level in features.levels]
        return feats, [(level.shape[-2], level.shape[-1]) for level in features.levels]

    def _sam_step(
        self, feats: list[Tensor], position: Tensor, sizes: list[tuple[int, int]], index: int, first: bool
    ) -> dict[str, Any]:
        sam, objects = self.pixel.sam, len(self.prompts)
        clicks = self.prompts if first and isinstance(self.prompts, Clicks) else None
        places = [position.flatten(2).permute(2, 0, 1).expand(-1, objects, -1)] * len(feats)
        heard: list[Tensor] = []  # the decoder's predicted IoU, which track_step keeps to itself

        def listen(_: Any, __: Any, out: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
            heard[:] = [out[1], out[3], out[0]]

        handle = sam.sam_mask_decoder.register_forward_hook(listen)
        try:
            out: dict[str, Any] = sam.track_step(
                frame_idx=index,
                is_init_cond_frame=first,
                current_vision_feats=feats,
                current_vision_pos_embeds=places,
                feat_sizes=sizes,
                point_inputs=None if clicks is None else clicks.points,
                mask_inputs=None,
                output_dict=self.memory,
                num_frames=self.frames,
                track_in_reverse=self.reverse,
                run_mem_encoder=False,
                prev_sam_mask_logits=None if clicks is None else clicks.mask,
            )
        finally:
            handle.remove()
        best = heard[0].argmax(-1)
        rows = torch.arange(objects, device=best.device)
        self.ungated = heard[2][rows, best].float()
        out["ious"], out["object_score_logits"] = heard[0][rows, best], heard[1]
        return out

    def _remember(self) -> None:
        due, self.due = self.due, None
        if due is None:
            return
        features, places = self.pixel.sam._encode_new_memory(
            current_vision_feats=due.feats,
            feat_sizes=due.sizes,
            pred_masks_high_res=due.out["pred_masks_high_res"],
            object_score_logits=due.out["object_score_logits"],
            is_mask_from_pts=due.first,  # the first frame's mask is binarised, later ones pass a sigmoid
        )
        kept = {
            "maskmem_features": features.to(getattr(torch, self.pixel.config.memory_dtype)),
            "maskmem_pos_enc": places,
            "obj_ptr": due.out["obj_ptr"],
        }
        self.memory["cond_frame_outputs" if due.first else "non_cond_frame_outputs"][due.index] = kept
        self.forget(due.index)

    def forget(self, index: int) -> None:
        """Drop what no later frame can attend to once ``index`` is done."""
        sam, past = self.pixel.sam, self.memory["non_cond_frame_outputs"]
        for frame in list(past):
            age = abs(index - frame) + 1  # as the next frame will see it
            if age > sam.num_maskmem - 1:
                past[frame].pop("maskmem_features", None)
                past[frame].pop("maskmem_pos_enc", None)
            if age > sam.max_obj_ptrs_in_encoder - 1:
                del past[frame]


def gate(logits: MaskLogits) -> Tensor:
    """Mask logits float[P, h, w] with ABSENT where the objectness is not positive, as :class:`Tracker` returns them."""
    return torch.where(logits.objectness[:, None, None] > 0, logits.masks, logits.masks.new_tensor(ABSENT))
