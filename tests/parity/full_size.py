"""One short answer of a full-size model with random weights, and what it cost: ``python -m tests.parity.full_size [PRESET]``.

Prints one JSON line. It runs in a process of its own, so that the peak is its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from tests.writing import written
from vglamm.checkpoint import skeleton
from vglamm.model import VideoGLaMM
from vglamm.pixel.decoder import to_source
from vglamm.pixel.track import Tracker
from vglamm.presets import preset

FRAMES, NEW, SIZE = 4, 3, (48, 64)


def build(name: str) -> VideoGLaMM:
    """The preset with 4 frames for the LM: norms of one, everything else from one block of noise.

    bfloat16, but for the pixel part: SAM 2 is made for float32 weights and autocast.
    """
    config = preset(name)
    model = skeleton(replace(config, vision=replace(config.vision, frames=FRAMES)))
    noise = torch.randn(1 << 22, dtype=torch.float32).bfloat16()
    for path, module in model.named_modules():
        for own, parameter in list(module.named_parameters(recurse=False)):
            filled = torch.ones(parameter.shape, dtype=torch.bfloat16) if "norm" in path else fill(noise, parameter)
            filled = filled.float() if path.startswith("pixel.") else filled
            setattr(module, own, nn.Parameter(filled, requires_grad=False))
    assert isinstance(model, VideoGLaMM)
    return model.eval()


def fill(noise: Tensor, parameter: Tensor) -> Tensor:
    """Noise of the parameter's shape, scaled by its fan-in, so that activations stay of order one through all layers."""
    flat = torch.empty(parameter.numel(), dtype=torch.bfloat16)
    scale = 0.5 * max(1, parameter[0].numel() if parameter.ndim > 1 else 64) ** -0.5
    for start in range(0, len(flat), len(noise)):
        part = flat[start : start + len(noise)]
        torch.mul(noise[: len(part)], scale, out=part)
    return flat.view(parameter.shape)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 1)


@torch.inference_mode()
def run(name: str) -> dict[str, object]:
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)  # of the long tests without Ray the longest by far
    seconds: dict[str, float] = {}
    with timed(seconds, "build"):
        model = build(name)
    config = model.config
    sides = (config.vision.spatial.image_size, config.vision.temporal.image_size)
    looks, moves = (torch.randint(0, 256, (1, FRAMES, 3, side, side), dtype=torch.uint8) for side in sides)
    with timed(seconds, "vision"):
        tokens = model.vision(looks, moves)[0]
    ids = torch.arange(10, 40 + len(tokens))[None] % config.language.vocab
    with timed(seconds, "language"):
        inputs = model.language.fuse(model.language.embed(ids), [tokens], [10])
        [steps] = written(model.language, [inputs[0]], NEW)
        prompts = model.language.prompts_at(steps[-1].hidden[None])
    with timed(seconds, "pixel"), torch.autocast("cpu", torch.bfloat16):
        frame = torch.randint(0, 256, (1, 3, config.pixel.longest * 3 // 4, config.pixel.longest), dtype=torch.uint8)
        features = model.pixel.features(model.pixel.square(frame))
        masks = to_source(Tracker(model.pixel, prompts, 1).step(features, 0).masks, SIZE)
    return {
        "preset": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": list(tokens.shape),
        "ids": [token.id for token in steps],
        "prompts": list(prompts.shape),
        "masks": list(masks.shape),
        "finite": all(bool(part.isfinite().all()) for part in (tokens, prompts, masks, steps[-1].logits)),
        "seconds": seconds,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1] if len(sys.argv) > 1 else "phi3")) + "\n")
