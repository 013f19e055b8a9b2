"""Frames -> visual tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vglamm import checkpoint
from vglamm.checkpoint import Dtype, Source
from vglamm.records import VisionInput, VisualTokens
from vglamm.steps.step import Step, suited
from vglamm.steps.wire import to_wire
from vglamm.vision.encoder import Vision


class VisionStep(Step[Vision]):
    """8-bit frames -> visual tokens, in the step's dtype (bfloat16 leaves as its bits, see :class:`VisualTokens`)."""

    @staticmethod
    def load(source: Source, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> VisionStep:
        """That of a checkpoint. dtype: see :func:`suited`."""
        dtype = suited(source, "vision", device, dtype)
        return VisionStep(checkpoint.load(source, part="vision", device=device, dtype=dtype), device=device)

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[VisionInput]) -> list[VisualTokens]:
        """Inputs of equal shape share one pass."""
        looks = [self._tensor(given.spatial) for given in inputs]
        moves = [None if given.temporal is None else self._tensor(given.temporal) for given in inputs]
        return [
            VisualTokens(to_wire(tokens), 0 if given.is_image else len(given.spatial))
            for given, tokens in zip(inputs, self.part.encode(looks, moves), strict=True)
        ]

    def _tensor(self, frames: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(frames).to(self.device)
