"""The published fine-tuning (arXiv 2411.04923, section 3.4): answers and masks of real sets, through the model's own forward.

Each grounding frame is judged alone, without memory, as published. Known defects of the published collation are not carried over:
both turns of an image's dialogue are read, no mask is added or cut, the visual tokens are counted, frozen parts stay in eval mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vglamm.data.corpora.mixture import Mixture
from vglamm.language.dialogue import IGNORED, Scribe
from vglamm.loss import Totals, Weights, count, losses
from vglamm.model import Batch, Output, VideoGLaMM
from vglamm.objectives.lessons import Item, LessonPreparer
from vglamm.objectives.segmentation import draw_strips, mean_of
from vglamm.pixel.decoder import to_source


class Finetuning(nn.Module):
    """Loss: that of :mod:`vglamm.loss`. No weights of its own.

    corpora: how often each set is drawn, by name. videos, images: their roots. held_out: share of each set's videos kept for
    validation. frames: grounding frames of a sample. questions: of one video at most. ce, bce, dice: weights of the terms.
    """

    def __init__(
        self,
        model: VideoGLaMM,
        tokenizer: Any,
        *,
        corpora: Mapping[str, float],
        videos: str | None = None,
        images: str | None = None,
        held_out: float = 0.02,
        frames: int = 5,
        questions: int = 1,
        ce: float = 1.0,
        bce: float = 2.0,
        dice: float = 0.5,
    ) -> None:
        super().__init__()
        self.model, self.weights = model, Weights(ce, bce, dice)
        mixture = Mixture(dict(corpora), videos, images, held_out)
        self.settings = LessonPreparer(model.config, Scribe(tokenizer, model.config.language), mixture, frames, questions)

    def preparer(self) -> LessonPreparer:
        return self.settings

    @staticmethod
    def collate(items: list[Item]) -> dict[str, Any]:
        """The fields of :class:`vglamm.model.Batch`; prompts go video by video, dialogue by dialogue."""
        rows = [(b, r) for b, item in enumerate(items) for r in range(len(item["ids"]))]
        longest = max(len(ids) for item in items for ids in item["ids"])

        def padded(key: str, fill: int) -> Tensor:
            lines = [np.pad(line, (0, longest - len(line)), constant_values=fill) for item in items for line in item[key]]
            return torch.from_numpy(np.stack(lines))

        lengths = torch.tensor([len(items[b]["ids"][r]) for b, r in rows])
        return {
            "spatial": [torch.from_numpy(item["spatial"]) for item in items],
            "temporal": [None if item["temporal"] is None else torch.from_numpy(item["temporal"]) for item in items],
            "ids_RL": padded("ids", 0),
            "labels_RL": padded("labels", IGNORED),
            "mask_RL": (torch.arange(longest) < lengths[:, None]).long(),
            "video_of": [b for b, _ in rows],
            "starts": [items[b]["starts"][r] for b, r in rows],
            "segs": [(row, seg) for row, (b, r) in enumerate(rows) for seg in items[b]["segs"][r]],
            "frames": [torch.from_numpy(item["frames"]) for item in items],
            "masks": [torch.from_numpy(mask).float() for item in items for masks in item["masks"] for mask in masks],
        }

    @staticmethod
    def count(batch: dict[str, Any]) -> Tensor:
        """Supervised tokens, and masks x frames."""
        totals = count(Batch(**batch))
        return torch.tensor([totals.tokens, totals.mask_frames])

    def forward(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        whole = Batch(**batch)
        return self._terms(whole, self.model(whole), Totals(float(totals[0]), float(totals[1])))

    def _terms(self, batch: Batch, output: Output, totals: Totals) -> dict[str, Tensor]:
        found = losses(self.model.language, output, batch, self.weights, totals)
        return {"loss": found.total, "ce": found.ce.detach(), "bce": found.bce.detach(), "dice": found.dice.detach()}

    @torch.no_grad()
    def validate(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        """The terms; ``token``: share of supervised tokens that are the most likely ones; ``iou``: mean over masks and frames that
        show the object, of the mask that a pixel belongs to where its logit is above 0."""
        whole = Batch(**batch)
        output = self.model(whole)
        targets = whole.labels_RL[:, 1:]
        wanted = targets != IGNORED
        said = self.model.language.logits(output.hidden_RLD[:, :-1][wanted]).argmax(-1)
        overlaps = [_overlap(logits.masks, target) for logits, target in zip(output.masks, whole.masks, strict=True)]
        return {
            **self._terms(whole, output, Totals(float(totals[0]), float(totals[1]))),
            "token": mean_of(said == targets[wanted]),
            "iou": mean_of(torch.cat(overlaps)) if overlaps else totals.new_zeros(2),
        }

    @torch.no_grad()
    def pictures(self, batch: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
        """The grounding frames of each video side by side, with the masks of the model's own prompts."""
        whole = Batch(**batch)
        output = self.model(whole)
        videos = [whole.video_of[row] for row, _ in whole.segs]
        shown = [
            {"frames": frames, "prompts": output.prompts_SC[[i for i, video in enumerate(videos) if video == b]]}
            for b, frames in enumerate(whole.frames)
        ]
        masks = [logits.masks for logits in output.masks]
        return draw_strips(shown, masks, [mask.new_ones(len(mask)) for mask in masks])


def _overlap(logits_Khw: Tensor, target_KHW: Tensor) -> Tensor:
    """IoU float[K], NaN where the object is not to be seen. Ignored pixels count for neither."""
    said = to_source(logits_Khw, (target_KHW.shape[-2], target_KHW.shape[-1])) > 0
    inside = target_KHW > 0
    said = said & (target_KHW >= 0)
    both, either = (said & inside).flatten(1).sum(1), (said | inside).flatten(1).sum(1)
    return torch.where(inside.flatten(1).any(1), both / either.clamp(min=1), torch.nan)
