"""The training forward from pixels that are already normalised, as golden batches have them: the model's own ``forward`` with its
two normalising phases replaced by the given pixels."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch

from vglamm.model import Batch, Output, VideoGLaMM


def forward_from_pixels(model: VideoGLaMM, batch: Batch, pixels: dict[str, list[Any]]) -> Output:
    """``batch`` carries normalised pixels where the model expects 8-bit frames; normalising is then the identity."""
    assert batch.spatial == pixels["spatial"]
    with (
        mock.patch.object(model.vision, "normalise", lambda spatial, temporal: (spatial, temporal)),
        mock.patch.object(model.pixel, "square", lambda frames: frames),
    ):
        out = model(batch)
    assert isinstance(out.hidden_RLD, torch.Tensor)
    return out  # type: ignore[no-any-return]
