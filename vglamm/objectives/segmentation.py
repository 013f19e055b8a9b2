"""Pixel alone: SAM's modules learn to follow the prompt codes of :mod:`vglamm.data.world.codes`, on single frames and through
memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vglamm.config import ModelConfig, typed
from vglamm.data.world import Scene, WorldObject, make_scene
from vglamm.data.world.codes import first_visible, positions, prompt_code, stranger_code
from vglamm.loss import mask_loss
from vglamm.model import VideoGLaMM
from vglamm.pixel.decoder import to_source
from vglamm.pixel.prepare import prepare
from vglamm.pixel.track import Tracker
from vglamm.show.colours import colour
from vglamm.show.overlay import draw_mask

Item = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SegmentationPreparer:
    """seed -> frames in time order from the first that shows the tracked objects, their prompt codes and masks.

    track: frames carried by memory; single: further frames, anywhere in the clip, for masks without memory. noise: standard
    deviation added to codes. blank: chance to hide the looks or the place of a code. absent: chance to add the code of an object of
    another scene, which no frame shows.
    """

    config: ModelConfig
    difficulty: str = "normal"
    level: str | None = None
    track: int = 5
    single: int = 3
    noise: float = 0.15
    blank: float = 0.1
    absent: float = 0.3

    def __call__(self, seed: int) -> Item:
        rng = np.random.default_rng((seed, 78))
        scene = make_scene(seed, difficulty=self.difficulty, level=self.level)
        start = (
            min(first_visible(scene, item) for item in scene.objects)
            if rng.random() < 0.7
            else first_visible(scene, scene.objects[-1])
        )
        followed = [item for item in scene.objects if first_visible(scene, item) == start]
        stride = int(rng.integers(1, 3))
        track = [min(start + k * stride, len(scene.frames) - 1) for k in range(self.track)] if self.track else []
        single = [start, *rng.integers(0, len(scene.frames), max(self.single - 1, 0)).tolist()] if self.single else []
        chosen = np.array([*track, *single], dtype=np.int64)
        codes = [self._code(scene, item, rng) for item in followed]
        masks = [scene.mask(item.id)[chosen] for item in followed]
        if rng.random() < self.absent:
            code = stranger_code(seed, scene, self.difficulty)
            codes.append(code + rng.standard_normal(len(code)).astype(np.float32) * np.float32(self.noise))
            masks.append(np.zeros_like(masks[0]))
        twin = np.array(
            [bool(scene.twins and item.id in scene.twins) for item in followed] + [False] * (len(codes) - len(followed))
        )
        return {
            "frames": prepare(scene.frames[chosen], self.config.pixel).frames,
            "prompts": np.stack(codes),
            "masks": np.stack(masks),
            "least": np.array(scene.least_area),
            "twin": twin,
            "track": np.array(len(track)),
        }

    def _code(self, scene: Scene, item: WorldObject, rng: np.random.Generator) -> NDArray[np.float32]:
        draw = rng.random()
        code = prompt_code(scene, item, looks=not draw < self.blank, place=not self.blank <= draw < 2 * self.blank)
        return code + rng.standard_normal(len(code)).astype(np.float32) * np.float32(self.noise * 2 * rng.random())


class Segmentation(nn.Module):
    """Loss: 2 BCE + 0.5 Dice of masks where an object is visible (before the objectness gate), and BCE of the objectness
    everywhere, for frames carried by memory and for single frames. Also told: ``gate``, share of (object, frame) pairs whose
    objectness is right; ``iou_tracked`` and ``iou_single``, mean over the pairs that are taught."""

    def __init__(self, model: VideoGLaMM, tokenizer: Any, *, fresh: bool = True, **data: Any) -> None:
        super().__init__()
        self.model = model
        self.settings = SegmentationPreparer(model.config, **typed(SegmentationPreparer, data, "settings."))
        self.overlap_SK = torch.zeros(0)  # of the latest forward, NaN where a pair is not taught
        if fresh:
            start_present(model)

    def preparer(self) -> SegmentationPreparer:
        return self.settings

    @staticmethod
    def collate(items: list[Item]) -> dict[str, Any]:
        return {"items": [{key: torch.from_numpy(value) for key, value in item.items()} for item in items]}

    @staticmethod
    def count(batch: dict[str, Any]) -> Tensor:
        """Visible (object, frame) pairs and all pairs."""
        seen = [_visible(item) for item in batch["items"]]
        return torch.tensor([float(sum(s.sum() for s in seen)), float(sum(s.numel() for s in seen))])

    def forward(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        pixel, items = self.model.pixel, batch["items"]
        features = pixel.features(pixel.square(torch.cat([item["frames"] for item in items])))
        logits_SK, objectness_SK = self._logits(features, items)
        target = torch.cat([item["masks"] for item in items]).float()
        seen = torch.cat([_visible(item) for item in items])
        taught = seen & torch.cat([_decidable(item) for item in items])
        score = functional.binary_cross_entropy_with_logits(objectness_SK, seen.float(), reduction="sum") / totals[1].clamp(min=1)
        at_source = to_source(logits_SK[taught], (target.shape[-2], target.shape[-1]))
        bce, dice = (term / totals[0].clamp(min=1) for term in mask_loss(at_source, target[taught]))
        terms = {"bce": bce, "dice": dice, "objectness": score, "gate": mean_of((objectness_SK > 0) == seen)}
        with torch.no_grad():
            overlap = logits_SK.new_full(taught.shape, float("nan"))
            overlap[taught] = _iou(at_source > 0, target[taught] > 0)
            self.overlap_SK = overlap
            tracked = int(items[0]["track"])
            terms |= {"iou_tracked": mean_of(overlap[:, :tracked]), "iou_single": mean_of(overlap[:, tracked:])}
        return {"loss": 2 * bce + 0.5 * dice + 0.5 * score, **{name: value.detach() for name, value in terms.items()}}

    def _logits(self, features: Any, items: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        """Mask logits float[S, K, h, w] before the gate and objectness float[S, K] of all objects of all items in one batch."""
        pixel, tracked = self.model.pixel, int(items[0]["track"])
        prompts = torch.cat([item["prompts"] for item in items])
        count = len(items[0]["frames"])
        video_S = torch.cat([torch.full((len(item["prompts"]),), i, device=prompts.device) for i, item in enumerate(items)])
        masks, scores = [], []
        if tracked:
            tracker = Tracker(pixel, prompts, tracked)
            for k in range(tracked):
                scores.append(tracker.step(features[video_S * count + k], k).objectness)
                masks.append(tracker.ungated)
        if single := count - tracked:
            pairs = (video_S[:, None] * count + torch.arange(tracked, count, device=prompts.device)).flatten()
            out = pixel.masks(features, prompts.repeat_interleave(single, dim=0), pairs)
            masks += list(out.masks.unflatten(0, (len(prompts), single)).unbind(1))
            scores += list(out.objectness.unflatten(0, (len(prompts), single)).unbind(1))
        return torch.stack(masks, 1).float(), torch.stack(scores, 1).float()

    @torch.no_grad()
    def validate(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        return self.forward(batch, totals)

    @torch.no_grad()
    def pictures(self, batch: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
        """For each item a strip of its frames, uint8[h, frames * w, 3], with the masks of all prompts drawn in."""
        return self.strips(batch["items"])

    def strips(self, batch: list[dict[str, Tensor]]) -> dict[str, NDArray[np.uint8]]:
        """The same of collated items, whose prompts may come from elsewhere."""
        features = self.model.pixel.features(self.model.pixel.square(torch.cat([item["frames"] for item in batch])))
        logits_SK, objectness_SK = self._logits(features, batch)
        return draw_strips(batch, logits_SK, objectness_SK)


def draw_strips(
    items: list[dict[str, Tensor]], logits_SK: Sequence[Tensor] | Tensor, objectness_SK: Sequence[Tensor] | Tensor
) -> dict[str, NDArray[np.uint8]]:
    """The frames of each item side by side, with every mask that is said to be there in its track's colour."""
    strips: dict[str, NDArray[np.uint8]] = {}
    first = 0
    for number, item in enumerate(items):
        frames = np.ascontiguousarray(item["frames"].permute(0, 2, 3, 1).cpu().numpy())
        for s in range(len(item["prompts"])):
            shown = to_source(logits_SK[first + s], (frames.shape[1], frames.shape[2])) > 0
            shown &= (objectness_SK[first + s] > 0)[:, None, None]
            for frame, mask in zip(frames, shown.cpu().numpy(), strict=True):
                draw_mask(frame, mask, colour(s), 0.5, 1)
        first += len(item["prompts"])
        strips[f"clip{number}"] = np.concatenate(list(frames), axis=1)
    return strips


def start_present(model: VideoGLaMM) -> None:
    """Let a new objectness head begin by saying "present" (its gate would otherwise hide masks from the memory encoder), and let
    SAM encode positions as prompt codes do."""
    head = model.pixel.sam.sam_mask_decoder.pred_obj_score_head
    last = head.layers[-1] if hasattr(head, "layers") else head
    with torch.no_grad():
        last.bias.fill_(2.0)
        model.pixel.sam.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.from_numpy(positions()))
        for name in ("point_embeddings", "not_a_point_embed", "no_mask_embed"):
            for parameter in getattr(model.pixel.sam.sam_prompt_encoder, name).parameters():
                parameter.mul_(0.3)


def mean_of(values: Tensor) -> Tensor:
    """float32[2]: sum and number of the values that are not NaN."""
    there = values[~values.isnan()].float()
    return torch.stack([there.sum(), there.new_tensor(float(len(there)))])


def _visible(item: dict[str, Tensor]) -> Tensor:
    return item["masks"].flatten(2).sum(-1) >= item["least"]


def _decidable(item: dict[str, Tensor]) -> Tensor:
    """A twin's mask without memory is decided by its place alone, so only on its own first frame."""
    objects, frames = item["masks"].shape[:2]
    tracked = int(item["track"])
    fixed = item["masks"].new_ones(objects, frames, dtype=torch.bool)
    fixed[item["twin"], tracked + 1 :] = False
    return fixed


def _iou(a: Tensor, b: Tensor) -> Tensor:
    return (a & b).flatten(1).sum(1) / (a | b).flatten(1).sum(1).clamp(min=1)
