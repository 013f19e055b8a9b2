"""Eight objects in one batch through memory, against one object, and against eight trackers that take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from vglamm.config import ModelConfig
from vglamm.pixel.abreast import Trail
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Footage
from vglamm.pixel.sight import look
from vglamm.pixel.track import Tracker
from vglamm.presets import preset
from vglamm.records import PixelInput, Sight

OBJECTS = 8
FRAMES = {"tiny": 48, "small": 16}
"""More than the 7 memories that SAM 2 looks back on, so that most frames cost what all later ones do."""
GOALS: dict[str, tuple[float | None, float]] = {"tiny": (3.0, 2.0), "small": (None, 1.0)}
"""For each preset: 8 objects cost at most so many times one, and are at least so many times faster than taking turns."""


@dataclass(frozen=True)
class Scene:
    """chunks: grounding frames of one video. prompts: float32[S, C]."""

    chunks: list[PixelInput]
    frames: int
    prompts: Tensor


def build(config: ModelConfig, frames: int, objects: int = OBJECTS, seed: int = 0) -> tuple[Pixel, Scene]:
    """Random weights, but for the objectness, which is biased so that objects are there; frames are soft clouds, since the masks
    of random weights follow the picture and their outlines would be as ragged as noise."""
    torch.manual_seed(seed)
    pixel = Pixel(config.pixel).eval().requires_grad_(False)
    pixel.sam.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(4.0)
    side = config.pixel.longest
    clouds = functional.interpolate(torch.rand(frames, 3, 4, 4) * 255, size=(side, side), mode="bicubic").clamp(0, 255)
    return pixel, Scene([PixelInput(clouds.byte().numpy(), (side, side))], frames, torch.randn(objects, config.pixel.prompt_width))


@torch.inference_mode()
def together(pixel: Pixel, scene: Scene, objects: int) -> list[list[Sight]]:
    """The first objects in one tracker: what ``PixelStep`` does in video mode. Sights of each frame."""
    footage = Footage(pixel, scene.chunks, scene.frames)
    return [sights for _, sights in Trail(pixel, footage, scene.prompts[:objects])]


@torch.inference_mode()
def in_turn(pixel: Pixel, scene: Scene, objects: int) -> list[list[Sight]]:
    """A tracker for each object, one after the other on every frame; they share the features of the frame, as in the predictor of
    the sam2 package, so that the image trunk runs no more often than in :func:`together`."""
    footage = Footage(pixel, scene.chunks, scene.frames)
    trackers = [Tracker(pixel, prompt_C[None], scene.frames) for prompt_C in scene.prompts[:objects]]
    return [
        [sight for tracker in trackers for sight in look(tracker.step(features, k), footage.size)]
        for k, features in footage.forwards()
    ]


def run(*, rounds: int, presets: tuple[str, ...] = ("tiny", "small")) -> Section:
    rows: list[Row] = []
    details: list[tuple[str, str]] = []
    for name in presets:
        pixel, scene = build(preset(name), FRAMES[name])
        arms: dict[str, Callable[[], object]] = {
            "one object": lambda p=pixel, s=scene: together(p, s, 1),  # type: ignore[misc]
            f"{OBJECTS} together": lambda p=pixel, s=scene: together(p, s, OBJECTS),  # type: ignore[misc]
            f"{OBJECTS} in turn": lambda p=pixel, s=scene: in_turn(p, s, OBJECTS),  # type: ignore[misc]
        }
        for arm in arms.values():
            arm()
        seconds = interleaved(arms, rounds)
        one, batch, turns = seconds.values()
        dearest, fastest = GOALS[name]
        rows += [
            Row(f"`{name}`: {OBJECTS} objects / 1, a frame", ratios(batch, one), "x", at_most=dearest),
            Row(f"`{name}`: {OBJECTS} in turn / together", ratios(turns, batch), "x", at_least=fastest),
        ]
        for arm, series in seconds.items():
            spread = Spread.of([1000 * value / scene.frames for value in series])
            details.append((f"`{name}`, {FRAMES[name]} frames of {pixel.config.image_size} px: {arm}, a frame", spread.text(" ms")))
    how = (
        f"Video mode (prompt on frame 0, then SAM 2's memory), from 8-bit frames to RLE, {rounds} rounds. *Together*: one "
        "tracker for all objects, as in `PixelStep`. *In turn*: a tracker for each object, on the same features of the frame."
    )
    return Section("Many objects", how, tuple(rows), tuple(details))
