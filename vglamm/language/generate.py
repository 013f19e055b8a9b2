"""Writing answers: each prompt is read once, alone; then all answers in flight get their next tokens step by step, from one cache.

Answers join and leave between two steps (continuous batching) and never see each other: each gets the tokens it would get alone.
An answer that is alone gets several tokens a step where they were guessed right (:mod:`vglamm.language.lookup`): the same ones.
Of each token only the last hidden state is kept, since the state that predicts ``[SEG]`` becomes its prompt. Shapes: see
:mod:`vglamm.model`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vglamm.errors import CheckpointError, DialogueError
from vglamm.language.aligned import Sequences
from vglamm.language.lm import Language
from vglamm.language.lookup import Lookup

GUESSES = 3
"""Tokens that are guessed for an answer alone: with its last one four rows, fewer than which no kernel reads weights faster for
(:data:`vglamm.language.packing.ROWS`)."""
COLDEST = 1e-6
"""A temperature below this is greedy: logits are not known so exactly that a draw could tell them apart."""


@dataclass(frozen=True)
class Token:
    """One token of one answer: its id, the hidden state float[D] that predicted it, the logits float[V] it came from."""

    id: int
    hidden: Tensor
    logits: Tensor

    def check(self) -> None:
        """CheckpointError for logits that are no numbers: the answer cannot go on."""
        top = float(self.logits.max())
        if not math.isfinite(top):
            raise CheckpointError(
                f"logits of {top} for the next token",
                "numbers",
                "compute in bfloat16 or float32 (float16 overflows), or see whether the weights are damaged",
            )


@dataclass
class _Row:
    """An answer in flight. last: the id that the next step continues. lookup: what it was asked, and its ids so far."""

    key: int
    temperature: float
    generator: torch.Generator
    lookup: Lookup
    last: int = 0


class RunningBatch:
    """Answers in flight, by key. Who drives it decides when an answer has ended, and lets it leave.

    guesses: tokens that are guessed for an answer alone, none where the LM is not :attr:`Language.steady`.
    """

    def __init__(self, language: Language, *, guesses: int = GUESSES) -> None:
        self.language = language
        self.guesses = guesses if language.steady else 0
        self._sequences = Sequences()
        self._rows: list[_Row] = []
        self._keys = itertools.count()

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, prompt_LD: Tensor, *, ids: Iterable[int] = (), temperature: float = 0.0, seed: int = 0) -> tuple[int, Token]:
        """Read a prompt (ids embedded, visual tokens fused); the key of its answer and the first token.

        ids: text that the answer may repeat, for guesses. temperature 0 is greedy; above 0, each answer draws with a generator of
        its own, seeded by ``seed`` alone, so that it draws the same in any company. CheckpointError, and nothing joins, for logits
        that are no numbers.
        """
        if temperature < 0:
            raise DialogueError(f"temperature {temperature}", "0 (greedy) or more", "pass a temperature >= 0")
        inputs_BLD = prompt_LD[None]
        hidden_BLD, past = self.language.prefill(inputs_BLD, torch.ones(inputs_BLD.shape[:2], device=inputs_BLD.device))
        assert past is not None
        row = _Row(next(self._keys), temperature, torch.Generator(device="cpu").manual_seed(seed), Lookup(ids))
        [token] = self._written([row], hidden_BLD[:, -1], self.language.logits(hidden_BLD[:, -1]))
        token.check()
        self._sequences.join(past)
        self._rows.append(row)
        return row.key, token

    def step(self) -> dict[int, list[Token]]:
        """One more token of every answer, by key, and those that follow where they were guessed right. One whose logits are no
        numbers (:meth:`Token.check`) is greedy, and harms no other."""
        if not self._rows:
            return {}
        if len(self._rows) == 1 and (guessed := self._rows[0].lookup.guess(self.guesses)):
            return {self._rows[0].key: self._tried(self._rows[0], guessed)}
        hidden_BD = self._extended([[row.last] for row in self._rows])[:, -1]
        self._sequences.keep(1, 1)
        tokens = self._written(self._rows, hidden_BD, self.language.logits(hidden_BD))
        return {row.key: [token] for row, token in zip(self._rows, tokens, strict=True)}

    def leave(self, key: int) -> None:
        """Let an answer go, ended or not; the others stay as they are."""
        at = next(i for i, row in enumerate(self._rows) if row.key == key)
        self._sequences.leave(at)
        self._rows[at] = self._rows[-1]
        self._rows.pop()

    def _tried(self, row: _Row, guessed: list[int]) -> list[Token]:
        """The next tokens: as many of the guesses as the LM says too, in order, and the one that it says after them."""
        hidden_LD = self._extended([[row.last, *guessed]])[0]
        logits_LV = self.language.logits(hidden_LD)
        tokens: list[Token] = []
        for at in range(len(hidden_LD)):
            tokens += self._written([row], hidden_LD[at : at + 1], logits_LV[at : at + 1])
            if at == len(guessed) or row.last != guessed[at]:
                break
        self._sequences.keep(len(tokens), len(hidden_LD))
        return tokens

    def _extended(self, ids: list[list[int]]) -> Tensor:
        device = self.language.lm.get_input_embeddings().weight.device
        return self.language.extend(
            torch.tensor(ids, device=device), self._sequences.mask(device, len(ids[0])), self._sequences.cache
        )

    def _written(self, rows: list[_Row], hidden_BD: Tensor, logits_BV: Tensor) -> list[Token]:
        ids = _choose(logits_BV, [row.temperature for row in rows], [row.generator for row in rows]).tolist()
        for row, token in zip(rows, ids, strict=True):
            row.last = token
            row.lookup.add(token)
        return [Token(token, hidden_BD[b], logits_BV[b]) for b, token in enumerate(ids)]


def _choose(logits_BV: Tensor, temperatures: list[float], generators: list[torch.Generator]) -> Tensor:
    ids_B = logits_BV.argmax(-1)
    for b, (temperature, generator) in enumerate(zip(temperatures, generators, strict=True)):
        if temperature >= COLDEST:
            logits_V = logits_BV[b].cpu().double()  # a GPU of Apple has no doubles
            if not logits_V.max().isfinite():
                continue
            chances_V = torch.softmax((logits_V - logits_V.max()) / temperature, dim=-1).float()
            ids_B[b] = torch.multinomial(chances_V, 1, generator=generator)[0]
    return ids_B
