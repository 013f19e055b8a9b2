"""The doors of the model: each part with its device and dtype; a list in, a list of the same length out, in numpy and plain values.

The local walk, Ray Data and Serve all go through these three. A step takes the part over: it moves it to the device, casts its
parameters (never its buffers: means and the frequencies of position codes stay float32) and puts it in eval mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vglamm import checkpoint
from vglamm.checkpoint import Dtype, Source, as_dtype
from vglamm.compose import tracks
from vglamm.errors import DialogueError, MaskError
from vglamm.language.dialogue import Dialogue, Scribe, Turns
from vglamm.language.draft import Draft
from vglamm.language.generate import RunningBatch, Token
from vglamm.language.lm import Language
from vglamm.language.packing import pack
from vglamm.pixel.anchor import MODES, Row, check_mode
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Ahead, Chunks, Footage
from vglamm.pixel.marks import by_marks
from vglamm.records import Marks, PixelInput, Reply, Track, VisionInput, VisualTokens
from vglamm.vision.encoder import Vision

Part = TypeVar("Part", bound=nn.Module)
Item = TypeVar("Item")
Event = str | NDArray[np.float32] | Reply


class _Step(Generic[Part]):
    """part, device, dtype (None keeps the part's own)."""

    def __init__(self, part: Part, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> None:
        self.device = torch.device(device)
        self.dtype = as_dtype(dtype) or next(p.dtype for p in part.parameters() if p.is_floating_point())
        self.part = part.to(self.device).eval()
        self._cast(self.dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        for parameter in self.part.parameters():
            if parameter.is_floating_point():  # quantised weights are whole numbers and stay so
                parameter.data = parameter.data.to(dtype)

    def _precision(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _guarded(self, items: Iterator[Item]) -> Iterator[Item]:
        """Make each item in inference mode, without leaving the consumer in it between two items."""
        while True:
            with torch.inference_mode(), self._precision():
                item = next(items, None)
            if item is None:
                return
            yield item


def suited(source: Source, part: str, device: torch.device | str, dtype: Dtype) -> Dtype:
    """The dtype to compute a stored part in: the one asked for, else (None) the stored one, except that float16, a dtype to store
    in, becomes float32 on a CPU."""
    stored = dtype is None and torch.device(device).type == "cpu" and checkpoint.stored_dtype(source, part)
    return torch.float32 if stored == torch.float16 else dtype


class VisionStep(_Step[Vision]):
    """8-bit frames -> visual tokens, in the step's dtype (bfloat16 leaves as its bits, see :class:`VisualTokens`)."""

    @staticmethod
    def load(source: Source, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> VisionStep:
        """That of a checkpoint. dtype: see :func:`suited`."""
        dtype = suited(source, "vision", device, dtype)
        return VisionStep(checkpoint.load(source, part="vision", device=device, dtype=dtype), device=device)

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[VisionInput]) -> list[VisualTokens]:
        """Inputs of equal shape share one pass."""
        looks = [self._tensor(given.spatial) for given in inputs]
        moves = [None if given.temporal is None else self._tensor(given.temporal) for given in inputs]
        return [
            VisualTokens(to_wire(tokens), 0 if given.is_image else len(given.spatial))
            for given, tokens in zip(inputs, self.part.encode(looks, moves), strict=True)
        ]

    def _tensor(self, frames: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(frames).to(self.device)


class Asked(NamedTuple):
    """One question: visual tokens, the (question, raw answer) turns before it, and its text. A plain tuple will do."""

    tokens: VisualTokens
    history: Turns
    question: str


@dataclass(frozen=True)
class Prompt:
    """A question that is ready to be read. inputs: float[L, D] on the step's device. room: tokens that the answer may have."""

    inputs: Tensor
    room: int
    temperature: float = 0.0
    seed: int = 0

    @property
    def tokens(self) -> int:
        """Positions that it may come to need, its answer included."""
        return len(self.inputs) + self.room


class Flight:
    """Replies that are written together: questions join and replies leave between two tokens, and none changes another.

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
        key, token = self.batch.join(prompt.inputs, temperature=prompt.temperature, seed=prompt.seed)
        self.drafts[key], self._needs[key] = Draft(self.step.scribe, prompt.room), prompt.tokens
        return key, self._take(key, token)

    @torch.inference_mode()
    def advance(self) -> dict[int, list[Event]]:
        """One more token for every reply. Events of each by key: raw text, then the prompts of its ``[SEG]``, then, as the last of
        all, the Reply, with which it has left."""
        return {key: self._take(key, token) for key, token in self.batch.step().items()}

    def leave(self, key: int) -> None:
        """Give up a reply; nothing happens if it has left."""
        if self.drafts.pop(key, None) is not None:
            del self._needs[key]
            with torch.inference_mode():
                self.batch.leave(key)

    def _take(self, key: int, token: Token) -> list[Event]:
        draft, part = self.drafts[key], self.step.part
        draft.ids.append(token.id)
        if token.id == part.config.seg_token:
            draft.prompts.append(part.prompts_at(token.hidden).float().cpu().numpy())
        events: list[Event] = [] if self.quiet else list(draft.news())
        if draft.ended:
            events.append(draft.reply())
            self.leave(key)
        return events


class LanguageStep(_Step[Language]):
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
            replies |= {key: events[-1] for key, events in flight.advance().items() if events}
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
            yield from flight.advance()[key]

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
        return Prompt(inputs_LD, min(limit, config.context - len(dialogue.ids)), temperature, seed)

    def length(self, asked: Asked | tuple[VisualTokens, Turns, str]) -> int:
        """Tokens of a prompt, the visual ones included. Raises DialogueError as the call does."""
        return len(self._dialogue(*asked).ids)

    def _dialogue(self, tokens: VisualTokens, history: Turns, question: str) -> Dialogue:
        return self.scribe.ask(history, question, visual=len(tokens.tokens), frames=tokens.frames)


@dataclass(frozen=True)
class PixelTask:
    """What to ground in one video. chunks: its grounding frames, see :class:`vglamm.pixel.footage.Footage`. prompts: float32[S, C].
    frames: K, how many frames there are. mode: "video" (from frame 0 through memory, as published), "frames" or "anchor".
    ahead: what :meth:`PixelStep.ahead` made of this video."""

    chunks: Chunks
    prompts: NDArray[np.float32]
    frames: int
    mode: str = "video"
    ahead: Ahead | None = None


class PixelStep(_Step[Pixel]):
    """Grounding frames and prompts -> tracks. Parameters stay float32. With bfloat16 the part runs in autocast, as SAM 2 itself
    does; with float16 it computes in float32, since memories are bfloat16 and the two do not mix."""

    @staticmethod
    def load(source: Source, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> PixelStep:
        """That of a checkpoint. dtype: see :func:`suited`."""
        part = checkpoint.load(source, part="pixel", device=device)
        return PixelStep(part, device=device, dtype=suited(source, "pixel", device, dtype))

    def _cast(self, dtype: torch.dtype) -> None:
        super()._cast(torch.float32)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.dtype) if self.dtype == torch.bfloat16 else nullcontext()

    def __call__(self, tasks: Sequence[PixelTask]) -> list[tuple[Track, ...]]:
        """One track for each prompt of each task. Nothing is read or run for a video without prompts."""
        return [tracks([row for _, row in self.stream(task)], len(task.prompts)) for task in tasks]

    def stream(self, task: PixelTask) -> Iterator[Row]:
        """(position, one sight for each prompt) for every grounding frame in order, as soon as it is known. No prompts, no rows.

        Device memory does not grow with the length of the video: in anchor mode features of at most ``config.cache`` frames are
        kept, longer videos are read again for the way back.
        """
        check_mode(task.mode)
        if task.prompts.ndim != 2 or task.prompts.shape[1] != self.part.config.prompt_width:
            raise MaskError(
                f"prompts {list(task.prompts.shape)}", f"[S, {self.part.config.prompt_width}]", "pass a reply's prompts"
            )
        if not len(task.prompts):
            return iter(())
        keep = task.mode == "anchor" and task.frames <= self.part.config.cache
        footage = Footage(self.part, task.chunks, task.frames, keep=keep, ahead=task.ahead)
        prompts_SC = torch.from_numpy(task.prompts).to(self.device, torch.float32)
        return self._guarded(MODES[task.mode](self.part, footage, prompts_SC))

    @torch.inference_mode()
    def ahead(self, chunks: Sequence[PixelInput]) -> Ahead:
        """What can be done before there are prompts: features of the first frames, of all in ``chunks`` at most. They stay on the
        device."""
        with self._precision():
            return Footage(self.part, chunks, sum(len(chunk.frames) for chunk in chunks)).ahead()

    def correct(self, chunks: Chunks, frames: int, marks: Marks) -> Iterator[Row]:
        """(position, [sight]) of one object that was marked by hand: first the marked frame, then those after it, then those before
        it, backwards. chunks, frames: as in :class:`PixelTask`. Memory is bounded as in anchor mode."""
        footage = Footage(self.part, chunks, frames, keep=frames <= self.part.config.cache)
        return self._guarded(by_marks(self.part, footage, marks))


def to_wire(tokens: Tensor) -> NDArray[Any]:
    """A tensor as numpy; bfloat16, which numpy lacks, as uint16 of the same bits."""
    tokens = tokens.cpu()
    return (tokens.view(torch.uint16) if tokens.dtype == torch.bfloat16 else tokens).numpy()


def from_wire(tokens: NDArray[Any]) -> Tensor:
    """What :func:`to_wire` made, as a tensor."""
    tensor = torch.from_numpy(tokens)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
