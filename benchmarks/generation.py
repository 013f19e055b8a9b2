"""Encode once, prefill once, then from the cache, with and without guesses: against the published way, at the same ids.

What random weights write repeats, which is guessed more often than real answers are. So the speed is also reckoned for the rate at
which the answers of the generated world are guessed.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from itertools import takewhile

import torch
from torch import Tensor

from benchmarks import published
from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from vglamm.config import ModelConfig
from vglamm.data.world import SPLITS, all_texts
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.language.dialogue import IGNORED, Scribe
from vglamm.language.generate import GUESSES, RunningBatch
from vglamm.language.lookup import Lookup
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
def fast(model: VideoGLaMM, asked: Question, limit: int, guesses: int = GUESSES) -> tuple[list[int], dict[str, float]]:
    """The package's way, as the steps take it. Also the seconds to the visual tokens, from there to the first token, and of all
    after it, and in how many steps of the LM these came."""
    begin = time.perf_counter()
    [visual_ND] = model.vision.encode([asked.spatial], [asked.temporal])
    seen = time.perf_counter()
    whole = torch.cat([asked.ids[:HEAD], asked.ids.new_zeros(len(visual_ND)), asked.ids[HEAD:]])[None]
    inputs_BLD = model.language.fuse(model.language.embed(whole), [visual_ND], [HEAD])
    batch = RunningBatch(model.language, guesses=guesses)
    _, token = batch.join(inputs_BLD[0], ids=asked.ids.tolist())
    first = time.perf_counter()
    ids, steps = [token.id], 0
    while len(ids) < limit:
        ids += [token.id for tokens in batch.step().values() for token in tokens]
        steps += 1
    spent = {"towers": seen - begin, "prefill": first - seen, "writing": time.perf_counter() - first, "steps": steps}
    return ids[:limit], spent


def guessed_rate(scenes: int = 200) -> float:
    """Tokens that a step of the LM gives in the answers of the generated world, the first token of each left out."""
    scribe = Scribe(build_tokenizer(), preset("tiny").language)
    tokens = steps = 0
    for turn in all_texts(SPLITS["test"][:scenes], 2):
        taught = scribe.teach([(turn.question, turn.answer)], visual=0, frames=8)
        answer = taught.ids[taught.labels != IGNORED].tolist()
        lookup = Lookup([*scribe.form, *taught.ids[taught.labels == IGNORED].tolist(), answer[0]])
        left = answer[1:]
        tokens += len(left)
        while left:
            wanted = lookup.guess(GUESSES)
            right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(wanted, left, strict=False)))
            came, left = left[: right + 1], left[right + 1 :]
            for token in came:
                lookup.add(token)
            steps += 1
    return tokens / steps


def run(*, rounds: int, name: str = "small", tokens: int = 64) -> Section:
    config = preset(name)
    model, asked = build(config)
    step = copy.deepcopy(model)
    pack(step.language)  # as the step does
    slow(model, asked, 1)  # warm up: the first passes pay for memory and for libraries that wake up
    fast(step, asked, 4)
    written: dict[str, list[int]] = {}
    parts: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}

    def ours(way: str, guesses: int) -> None:
        written[way], spent = fast(step, asked, tokens, guesses)
        parts[way].append(spent)

    def theirs() -> None:
        written["theirs"] = slow(model, asked, tokens)

    seconds = interleaved({"theirs": theirs, "ours": lambda: ours("ours", GUESSES), "plain": lambda: ours("plain", 0)}, rounds)
    for way in parts:
        if written["theirs"] != written[way]:
            raise SystemExit(f"the published way wrote {written['theirs']}, {way} {written[way]}: a ratio would mean nothing")
    visual = len(model.vision.encode([asked.spatial], [asked.temporal])[0])
    rate = guessed_rate()
    # A step with guesses, as often as real answers would need one.
    real = [spent["towers"] + spent["prefill"] + spent["writing"] / spent["steps"] * (tokens - 1) / rate for spent in parts["ours"]]
    how = (
        f"Preset `{name}` in float32: {config.vision.frames} frames, {visual} visual and {HEAD + TAIL} text tokens, {tokens} new "
        f"tokens, greedy, {rounds} rounds. All ways wrote the same ids. Published way: both towers and the whole prompt again for "
        "every token, no cache, one more pass to count visual tokens (`benchmarks/published.py`). Cached, as `ask` writes an "
        f"answer alone: up to {GUESSES} tokens are guessed from the text so far and checked in the same step. Random weights "
        f"repeat themselves, so that {(tokens - 1) / parts['ours'][0]['steps']:.2f} tokens came a step; answers of the generated "
        f"world get {rate:.2f} (looked up in the texts of 200 scenes): the second row is reckoned for them from the first's times."
    )
    rows = (
        Row("published way / cached", ratios(seconds["theirs"], seconds["ours"]), "x", at_least=GOAL),
        Row(
            "published way / cached, as many guesses right as in real answers", ratios(seconds["theirs"], real), "x", at_least=GOAL
        ),
        Row("published way / cached, nothing guessed", ratios(seconds["theirs"], seconds["plain"]), "x"),
    )
    details = [("published way, whole answer", Spread.of(seconds["theirs"])), ("cached, whole answer", Spread.of(seconds["ours"]))]
    details += [(f"cached: {part}", Spread.of([spent[part] for spent in parts["ours"]])) for part in ("towers", "prefill")]
    for way, what in (("ours", "guesses checked"), ("plain", "nothing guessed")):
        details += [(f"cached: a step, {what}", Spread.of([spent["writing"] / spent["steps"] for spent in parts[way]]))]
    return Section("Cached generation", how, rows, tuple((what, found.text(" s")) for what, found in details))
