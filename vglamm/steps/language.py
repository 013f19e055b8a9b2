"""Visual tokens and questions -> text, and a prompt for each ``[SEG]``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vglamm import checkpoint
from vglamm.checkpoint import Dtype, Source
from vglamm.errors import CheckpointError, DialogueError
from vglamm.language.dialogue import Dialogue, Scribe, Turns
from vglamm.language.draft import Draft
from vglamm.language.generate import RunningBatch, Token
from vglamm.language.lm import Language
from vglamm.language.packing import pack
from vglamm.records import Reply, VisualTokens
from vglamm.steps.step import Step, suited
from vglamm.steps.wire import from_wire

Event = str | NDArray[np.float32] | Reply | CheckpointError


class Asked(NamedTuple):
    """One question: visual tokens, the (question, raw answer) turns before it, and its text. A plain tuple will do."""

    tokens: VisualTokens
    history: Turns
    question: str


@dataclass(frozen=True)
class Prompt:
    """A question that is ready to be read. inputs: float[L, D] on the step's device. room: tokens that the answer may have. ids:
    those of text that it may repeat."""

    inputs: Tensor
    room: int
    ids: tuple[int, ...] = ()
    temperature: float = 0.0
    seed: int = 0

    @property
    def tokens(self) -> int:
        """Positions that it may come to need, its answer included."""
        return len(self.inputs) + self.room


class Flight:
    """Replies that are written together: questions join and replies leave between two steps of the LM, and none changes another.

    Made by :meth:`LanguageStep.flight`; each is for one thread at a time.
    """

    def __init__(self, step: LanguageStep, quiet: bool) -> None:
        self.step, self.quiet, self.batch = step, quiet, RunningBatch(step.part)
        self.drafts: dict[int, Draft] = {}
        self._needs: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.drafts)

    @property
    def tokens(self) -> int:
        """Positions that all replies in flight may come to need."""
        return sum(self._needs.values())

    @torch.inference_mode()
    def join(self, prompt: Prompt) -> tuple[int, list[Event]]:
        """Read a question: the key of its reply, and what its first token gives."""
        key, token = self.batch.join(prompt.inputs, ids=prompt.ids, temperature=prompt.temperature, seed=prompt.seed)
        self.drafts[key], self._needs[key] = Draft(self.step.scribe, prompt.room), prompt.tokens
        try:
            return key, self._take(key, [token])
        except BaseException:  # nobody knows its key, who could let it leave
            self.leave(key)
            raise

    @torch.inference_mode()
    def advance(self) -> dict[int, list[Event]]:
        """The next token of every reply, and those after it that were guessed right.

        Events of each by key: raw text, then the prompts of its ``[SEG]``, then, as the last of all, the Reply, with which it has
        left, or the CheckpointError that ended it alone.
        """
        return {key: self._take(key, tokens) for key, tokens in self.batch.step().items()}

    def leave(self, key: int) -> None:
        """Give up a reply; nothing happens if it has left."""
        if self.drafts.pop(key, None) is not None:
            del self._needs[key]
            with torch.inference_mode():
                self.batch.leave(key)

    def _take(self, key: int, tokens: list[Token]) -> list[Event]:
        draft, part = self.drafts[key], self.step.part
        events: list[Event] = []
        for token in tokens:
            try:
                token.check()
            except CheckpointError as error:
                events.append(error)
                self.leave(key)
                break
            draft.ids.append(token.id)
            if token.id == part.config.seg_token:
                draft.prompts.append(part.prompts_at(token.hidden).float().cpu().numpy())
            if not self.quiet:
                events += draft.news()
            if draft.ended:
                events.append(draft.reply())
                self.leave(key)
                break
        return events


class LanguageStep(Step[Language]):
    """Visual tokens and questions -> replies with their prompts. It owns its part, and packs large weights of a CPU's."""

    def __init__(self, part: Language, tokenizer: Any, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> None:
        super().__init__(part, device=device, dtype=dtype)
        self.scribe = Scribe(tokenizer, part.config)
        pack(part)

    @staticmethod
    def load(
        source: Source, *, device: torch.device | str = "cpu", dtype: Dtype = None, quantise: str | None = None
    ) -> LanguageStep:
        """That of a checkpoint. dtype: see :func:`suited`. quantise: "8bit" or "4bit"."""
        dtype = suited(source, "language", device, dtype)
        part = checkpoint.load(source, part="language", device=device, dtype=dtype, quantise=quantise)
        return LanguageStep(part, checkpoint.load_tokenizer(source), device=device)

    def __call__(
        self,
        inputs: Sequence[Asked | tuple[VisualTokens, Turns, str]],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Reply]:
        """All in one batch. max_new_tokens: None takes the config's. temperature: 0 is greedy; else drawn, reproducible by ``seed``
        in any batch. Raises DialogueError for a question that is empty, too long or holds control words."""
        flight = self.flight(quiet=True)
        prompts = [self.prepare(asked, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed) for asked in inputs]
        joined = [flight.join(prompt) for prompt in prompts]
        replies = {key: events[-1] for key, events in joined if events}
        while len(flight):
            replies |= {key: events[-1] for key, events in flight.advance().items() if _sound(events)}
        return [reply for key, _ in joined if isinstance(reply := replies[key], Reply)]

    def stream(
        self,
        asked: Asked | tuple[VisualTokens, Turns, str],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[Event]:
        """The raw text piece by piece (str), the prompt float32[C] of each phrase right after its ``[SEG]``, and last the Reply."""
        flight = self.flight()
        key, events = flight.join(self.prepare(asked, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed))
        yield from events
        while len(flight):
            for event in flight.advance()[key]:
                _sound([event])
                yield event

    def flight(self, *, quiet: bool = False) -> Flight:
        """An empty flight, to which questions can be brought at any time. quiet: of each reply only the Reply."""
        return Flight(self, quiet)

    @torch.inference_mode()
    def prepare(
        self,
        asked: Asked | tuple[VisualTokens, Turns, str],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Prompt:
        """A question as the flight takes it. Raises DialogueError as the call does."""
        config, (tokens, history, question) = self.part.config, Asked(*asked)
        limit = config.max_new_tokens if max_new_tokens is None else max_new_tokens
        if limit < 1:
            raise DialogueError(f"max_new_tokens {limit}", "at least 1", "pass a positive number or None")
        if not 0 <= temperature < math.inf:
            raise DialogueError(f"temperature {temperature}", "0 (greedy) or more", "pass a temperature >= 0")
        if not -(2**63) <= seed < 2**64:
            raise DialogueError(f"seed {seed}", "a whole number of 64 bits", "pass a smaller seed")
        dialogue = self._dialogue(tokens, history, question)
        ids_BL = torch.from_numpy(dialogue.ids)[None].to(self.device)
        visual = from_wire(tokens.tokens).to(self.device)
        [inputs_LD] = self.part.fuse(self.part.embed(ids_BL), [visual], [dialogue.start])
        text = np.delete(dialogue.ids, np.s_[dialogue.start : dialogue.start + dialogue.visual])
        room = min(limit, config.context - len(dialogue.ids))
        return Prompt(inputs_LD, room, (*self.scribe.form, *text.tolist()), temperature, seed)

    def length(self, asked: Asked | tuple[VisualTokens, Turns, str]) -> int:
        """Tokens of a prompt, the visual ones included. Raises DialogueError as the call does."""
        return len(self._dialogue(*asked).ids)

    def _dialogue(self, tokens: VisualTokens, history: Turns, question: str) -> Dialogue:
        return self.scribe.ask(history, question, visual=len(tokens.tokens), frames=tokens.frames)


def _sound(events: list[Event]) -> bool:
    """Whether there are any. The error that ended a reply is raised."""
    if events and isinstance(events[-1], CheckpointError):
        raise events[-1]
    return bool(events)
