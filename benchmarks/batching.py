"""Eight answers written together against one after the other, at the same ids."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from vglamm.language.generate import RunningBatch
from vglamm.language.lm import Language
from vglamm.language.packing import pack
from vglamm.presets import preset

GOAL = 2.5
WORDS = 48
"""Text tokens of a prompt beside its visual ones."""


@torch.inference_mode()
def decode(language: Language, prompts: list[Tensor], tokens: int) -> tuple[list[list[int]], float]:
    """The ids of all answers, and the seconds from their first tokens to their last: prompts are read one by one in any case."""
    batch = RunningBatch(language, guesses=0)
    joined = [batch.join(prompt) for prompt in prompts]
    answers = {key: [token.id] for key, token in joined}
    begin = time.perf_counter()
    for _ in range(tokens - 1):
        for key, [token] in batch.step().items():
            answers[key].append(token.id)
    return list(answers.values()), time.perf_counter() - begin


def run(*, rounds: int, name: str = "small", requests: int = 8, tokens: int = 32) -> Section:
    torch.manual_seed(0)
    config = preset(name)
    language = Language(replace(config.language, stop_tokens=())).eval().requires_grad_(False)
    pack(language)  # as the step does
    visual = config.vision.video_tokens
    # Lengths differ, as those of real questions do.
    prompts = [torch.randn(visual + WORDS + 3 * n, config.language.width) * 0.02 for n in range(requests)]
    decode(language, prompts[:2], 2)  # warm up
    wrote: dict[str, list[list[int]]] = {}
    spent: dict[str, list[float]] = {"alone": [], "together": []}

    def alone() -> None:
        made = [decode(language, [prompt], tokens) for prompt in prompts]
        wrote["alone"] = [ids for [ids], _ in made]
        spent["alone"].append(sum(seconds for _, seconds in made))

    def together() -> None:
        wrote["together"], seconds = decode(language, prompts, tokens)
        spent["together"].append(seconds)

    whole = interleaved({"alone": alone, "together": together}, rounds)
    if wrote["alone"] != wrote["together"]:
        raise SystemExit("together they wrote other ids than alone: a ratio would mean nothing")
    how = (
        f"Language part of preset `{name}` in float32, {requests} prompts of {len(prompts[0])} to {len(prompts[-1])} positions, "
        f"{tokens} tokens each, greedy, {rounds} rounds. Both ways wrote the same ids. Nothing is guessed, since random weights "
        "repeat themselves. Decoding: from the first tokens to the last."
    )
    rows = (
        Row("decoding, one at a time / together", ratios(spent["alone"], spent["together"]), "x", at_least=GOAL),
        Row("reading and decoding, one at a time / together", ratios(whole["alone"], whole["together"]), "x"),
    )
    written = requests * (tokens - 1)
    details = tuple(
        (f"decoding {way}", Spread.of([written / seconds for seconds in spent[way]]).text(" tokens/s")) for way in spent
    )
    return Section("Batched decoding", how, rows, details)
