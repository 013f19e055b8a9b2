"""VideoGLaMM (arXiv 2411.04923): three parts joined for training.

Legend of shapes, used in the whole package:

    B  videos (or images) of a batch      T  frames that the LLM sees       K  grounding frames
    N  visual tokens of a video           D  language width                 L  tokens of a sequence
    R  dialogues (rows) of a batch        S  prompts, flat over the batch   P  (prompt, frame) pairs
    C  prompt width                       G  tokens along one side of a grid
    H W  source size                      h w  size inside a part

A tensor that outlives a line carries its shape as a suffix (``hidden_RLD``); doors say ``uint8[B, T, 3, H, W]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vglamm.config import ModelConfig
from vglamm.errors import DialogueError
from vglamm.language.lm import Language
from vglamm.pixel.decoder import MaskLogits, Pixel
from vglamm.vision.encoder import Vision


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    spatial, temporal: for each video, uint8[T, 3, h, w] frames of both towers (temporal None for an image). ids_RL, labels_RL
    (-100: not supervised), mask_RL (0: padding): dialogues, padded on the right. video_of: the video of each dialogue. starts:
    where its visual tokens begin. segs: (dialogue, position that predicts ``[SEG]``) of each prompt. frames: for each video,
    uint8[K, 3, h, w] grounding frames. masks: for each prompt its targets float[K, H, W], 1 inside, 0 outside, -1 ignored.
    """

    spatial: list[Tensor]
    temporal: list[Tensor | None]
    ids_RL: Tensor
    labels_RL: Tensor
    mask_RL: Tensor
    video_of: list[int]
    starts: list[int]
    segs: list[tuple[int, int]]
    frames: list[Tensor]
    masks: list[Tensor]

    def __post_init__(self) -> None:
        if len(self.segs) != len(self.masks):
            raise DialogueError(f"{len(self.segs)} [SEG]s and {len(self.masks)} masks", "one mask for each [SEG]", "fix the sample")


@dataclass(frozen=True)
class Output:
    """hidden_RLD: last hidden states. prompts_SC. masks: for each prompt the logits over its video's frames, ``MaskLogits`` of
    P = K pairs. ghost: a zero that ties the pixel part to a batch without prompts, to be added to the loss, so that no rank of a
    sharded training skips a part."""

    hidden_RLD: Tensor
    prompts_SC: Tensor
    masks: list[MaskLogits]
    ghost: Tensor


class VideoGLaMM(nn.Module):
    """The whole model. Its state dict is the three parts' with their words as prefixes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Vision(config.vision)
        self.language = Language(config.language)
        self.pixel = Pixel(config.pixel)

    def forward(self, batch: Batch) -> Output:
        tokens = self.vision.encode(batch.spatial, batch.temporal)
        hidden_RLD = self.language(batch.ids_RL, batch.mask_RL, [tokens[b] for b in batch.video_of], batch.starts)
        segs = batch.segs or [(0, 0)]  # without a prompt, a ghost of one keeps every part in the graph
        rows, columns = (torch.tensor(axis, device=hidden_RLD.device) for axis in zip(*segs, strict=True))
        prompts_SC = self.language.prompts_at(hidden_RLD[rows, columns])
        logits = self._ground(batch, prompts_SC, [batch.video_of[row] for row, _ in segs])
        if batch.segs:
            return Output(hidden_RLD, prompts_SC, logits, hidden_RLD.new_zeros(()))
        ghost = (logits[0].masks.sum() + logits[0].objectness.sum() + logits[0].iou.sum()) * 0
        return Output(hidden_RLD, prompts_SC[:0], [], ghost)

    def _ground(self, batch: Batch, prompts_SC: Tensor, videos: list[int]) -> list[MaskLogits]:
        used = sorted(set(videos))
        features = self.pixel.features(torch.cat([self.pixel.square(batch.frames[b]) for b in used]))
        offsets, total = {}, 0
        for b in used:
            offsets[b] = total
            total += len(batch.frames[b])
        lengths = [len(batch.frames[b]) for b in videos]
        pairs = torch.cat([torch.arange(offsets[b], offsets[b] + k) for b, k in zip(videos, lengths, strict=True)])
        repeated_PC = prompts_SC.repeat_interleave(torch.tensor(lengths, device=prompts_SC.device), dim=0)
        flat = self.pixel.masks(features, repeated_PC, pairs.to(prompts_SC.device))
        parts = zip(flat.masks.split(lengths), flat.objectness.split(lengths), flat.iou.split(lengths), strict=True)
        return [MaskLogits(*part) for part in parts]
