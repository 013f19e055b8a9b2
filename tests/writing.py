"""Answers written together from the start, for tests that compare them with other ways of writing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vglamm.language.generate import RunningBatch, Token
from vglamm.language.lm import Language


def written(language: Language, rows: list[Tensor], limit: int, guesses: int = 0, **settings: Any) -> list[list[Token]]:
    """The tokens of the answer to each prompt float[L, D], its stop token included, ``limit`` at most."""
    batch = RunningBatch(language, guesses=guesses)
    joined = [batch.join(row, **settings) for row in rows]
    answers = {key: [token] for key, token in joined}
    riding = set(answers)
    while riding:
        for key in list(riding):
            if end := _end(answers[key], limit, language.config.stop_tokens):
                del answers[key][end:]
                batch.leave(key)
                riding.remove(key)
        for key, tokens in batch.step().items():
            answers[key] += tokens
    return [answers[key] for key, _ in joined]


def _end(tokens: list[Token], limit: int, stops: tuple[int, ...]) -> int:
    """How many of the tokens belong to an answer that has ended; 0 for one that has not."""
    stopped = [at for at, token in enumerate(tokens, 1) if token.id in stops]
    return min([*stopped, limit]) if stopped or len(tokens) >= limit else 0
