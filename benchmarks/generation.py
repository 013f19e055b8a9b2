"""Encode once, prefill once, one token a step from the cache: against the published way, at the same ids."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks import published
from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from vglamm.config import ModelConfig
from vglamm.language.generate import RunningBatch
from vglamm.language.packing import pack
from vglamm.model import VideoGLaMM
from vglamm.presets import preset

HEAD, TAIL = 18, 30
"""Text tokens before and after the visual ones: those of the conversation's frame and a question of a dozen words."""
GOAL = 40.0


@dataclass(frozen=True)
class Question:
    """spatial, temporal: uint8[T, 3, h, w]. ids: int64[HEAD + TAIL], without visual tokens."""

    spatial: Tensor
    temporal: Tensor
    ids: Tensor


def build(config: ModelConfig, seed: int = 0) -> tuple[VideoGLaMM, Question]:
    """Random weights and a random question. No token stops an answer, so that both ways write equally much."""
    torch.manual_seed(seed)
    model = VideoGLaMM(replace(config, language=replace(config.language, stop_tokens=()))).eval().requires_grad_(False)
    vision = config.vision
    looks, moves = (
        torch.randint(0, 256, (vision.frames, 3, side, side), dtype=torch.uint8)
        for side in (vision.spatial.image_size, vision.temporal.image_size)
    )
    return model, Question(looks, moves, torch.randint(3, config.language.vocab - 1, (HEAD + TAIL,)))


@torch.inference_mode()
def slow(model: VideoGLaMM, asked: Question, limit: int) -> list[int]:
    """The published way."""
    return published.write(model, asked.spatial, asked.temporal, asked.ids, HEAD, limit)


@torch.inference_mode()
def fast(model: VideoGLaMM, asked: Question, limit: int) -> tuple[list[int], dict[str, float]]:
    """The package's way, as the steps take it. Also the seconds to the visual tokens, from there to the first token, and of each
    token after it."""
    begin = time.perf_counter()
    [visual_ND] = model.vision.encode([asked.spatial], [asked.temporal])
    seen = time.perf_counter()
    whole = torch.cat([asked.ids[:HEAD], asked.ids.new_zeros(len(visual_ND)), asked.ids[HEAD:]])[None]
    inputs_BLD = model.language.fuse(model.language.embed(whole), [visual_ND], [HEAD])
    batch = RunningBatch(model.language)
    _, token = batch.join(inputs_BLD[0])
    first = time.perf_counter()
    ids = [token.id]
    while len(ids) < limit:
        ids += [token.id for token in batch.step().values()]
    later = (time.perf_counter() - first) / max(len(ids) - 1, 1)
    return ids, {"towers": seen - begin, "prefill": first - seen, "token": later}


def run(*, rounds: int, name: str = "small", tokens: int = 64) -> Section:
    config = preset(name)
    model, asked = build(config)
    step = copy.deepcopy(model)
    pack(step.language)  # as the step does
    slow(model, asked, 1)  # warm up: the first passes pay for memory and for libraries that wake up
    fast(step, asked, 4)
    written: dict[str, list[int]] = {}
    parts: list[dict[str, float]] = []

    def ours() -> None:
        written["ours"], spent = fast(step, asked, tokens)
        parts.append(spent)

    def theirs() -> None:
        written["theirs"] = slow(model, asked, tokens)

    seconds = interleaved({"theirs": theirs, "ours": ours}, rounds)
    if written["theirs"] != written["ours"]:
        raise SystemExit(f"the published way wrote {written['theirs']}, ours {written['ours']}: a ratio would mean nothing")
    visual = len(model.vision.encode([asked.spatial], [asked.temporal])[0])
    how = (
        f"Preset `{name}` in float32: {config.vision.frames} frames, {visual} visual and {HEAD + TAIL} text tokens, {tokens} new "
        f"tokens, greedy, {rounds} rounds. Both ways wrote the same ids. Published way: both towers and the whole prompt again for "
        "every token, no cache, one more pass to count visual tokens (`benchmarks/published.py`)."
    )
    rows = (Row("published way / cached", ratios(seconds["theirs"], seconds["ours"]), "x", at_least=GOAL),)
    details = [("published way, whole answer", seconds["theirs"]), ("cached, whole answer", seconds["ours"])]
    details += [(f"cached: {part}", [spent[part] for spent in parts]) for part in ("towers", "prefill", "token")]
    return Section("Cached generation", how, rows, tuple((what, Spread.of(found).text(" s")) for what, found in details))
