"""Answers written together from the start, for tests that compare them with other ways of writing."""

from __future__ import annotations

from torch import Tensor

from vglamm.language.generate import RunningBatch, Token
from vglamm.language.lm import Language


def written(language: Language, rows: list[Tensor], limit: int, **settings: float) -> list[list[Token]]:
    """The tokens of the answer to each prompt float[L, D], its stop token included, ``limit`` at most."""
    batch = RunningBatch(language)
    joined = [batch.join(row, **settings) for row in rows]
    answers = {key: [token] for key, token in joined}
    for step in range(limit):
        for key, tokens in answers.items():
            if len(tokens) == step + 1 and (tokens[-1].id in language.config.stop_tokens or len(tokens) == limit):
                batch.leave(key)
        for key, token in batch.step().items():
            answers[key].append(token)
    return [answers[key] for key, _ in joined]
