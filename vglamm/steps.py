"""The doors of the model: each part with its device and dtype; a list in, a list of the same length out, in numpy and plain values.

The local walk, Ray Data and Serve all go through these three. A step takes the part over: it moves it to the device, casts its
parameters (never its buffers: means and the frequencies of position codes stay float32) and puts it in eval mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vglamm.checkpoint import Dtype, as_dtype
from vglamm.errors import DialogueError, MaskError
from vglamm.language.dialogue import SEG, Dialogue, Scribe, Turns
from vglamm.language.generate import Written, write
from vglamm.language.lm import Language
from vglamm.language.phrases import parse_reply
from vglamm.pixel.anchor import MODES, Row, check_mode
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Chunks, Footage
from vglamm.pixel.marks import by_marks
from vglamm.pixel.sight import tracks
from vglamm.records import Marks, Reply, Track, VisionInput, VisualTokens
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


class VisionStep(_Step[Vision]):
    """8-bit frames -> visual tokens, in the step's dtype (bfloat16 leaves as its bits, see :class:`VisualTokens`)."""

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


@dataclass
class _Draft:
    """A reply while it is written. room: tokens it may have."""

    room: int
    stops: tuple[int, ...]
    ids: list[int] = field(default_factory=list)
    prompts: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return bool(self.ids) and self.ids[-1] in self.stops

    @property
    def ended(self) -> bool:
        return self.stopped or len(self.ids) >= self.room


class LanguageStep(_Step[Language]):
    """Visual tokens and questions -> replies with their prompts."""

    def __init__(self, part: Language, tokenizer: Any, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> None:
        super().__init__(part, device=device, dtype=dtype)
        self.scribe = Scribe(tokenizer, part.config)
        if self.device.type == "cpu" and self.dtype == torch.float32:
            _column_major(part)

    @torch.inference_mode()
    def __call__(
        self,
        inputs: Sequence[Asked | tuple[VisualTokens, Turns, str]],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Reply]:
        """All in one batch. max_new_tokens: None takes the config's. temperature: 0 is greedy; else drawn, reproducible by ``seed``
        for the same batch. Raises DialogueError for a question that is empty, too long or holds control words."""
        asked = [Asked(*given) for given in inputs]
        drafts: list[_Draft] = []
        for _ in self._write(asked, drafts, max_new_tokens, temperature, seed):
            pass
        return [self._reply(draft) for draft in drafts]

    def stream(
        self,
        asked: Asked | tuple[VisualTokens, Turns, str],
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[Event]:
        """The raw text piece by piece (str), the prompt float32[C] of each phrase right after its ``[SEG]``, and last the Reply."""
        return self._guarded(self._stream(Asked(*asked), max_new_tokens, temperature, seed))

    def _stream(self, asked: Asked, limit: int | None, temperature: float, seed: int) -> Iterator[Event]:
        drafts: list[_Draft] = []
        shown = told = 0
        for _ in self._write([asked], drafts, limit, temperature, seed):
            text = self.scribe.decode(drafts[0].ids)
            if text.endswith("\ufffd") and not drafts[0].ended:
                continue  # half a character: its other bytes come with the next tokens
            if text[shown:]:
                yield text[shown:]
                shown = len(text)
            yield from drafts[0].prompts[told:]
            told = len(drafts[0].prompts)
        yield self._reply(drafts[0])

    def _write(
        self, asked: list[Asked], drafts: list[_Draft], limit: int | None, temperature: float, seed: int
    ) -> Iterator[Written]:
        """Fills ``drafts``, one for each question, step by step."""
        config = self.part.config
        limit = config.max_new_tokens if limit is None else limit
        if limit < 1:
            raise DialogueError(f"max_new_tokens {limit}", "at least 1", "pass a positive number or None")
        if not asked:
            return
        dialogues = [self.scribe.ask(a.history, a.question, visual=len(a.tokens.tokens), frames=a.tokens.frames) for a in asked]
        drafts += [_Draft(min(limit, config.context - len(d.ids)), config.stop_tokens) for d in dialogues]
        rows = [self._inputs(d, a.tokens) for d, a in zip(dialogues, asked, strict=True)]
        for step in write(self.part, rows, limit=max(draft.room for draft in drafts), temperature=temperature, seed=seed):
            for b, (token, draft) in enumerate(zip(step.ids.tolist(), drafts, strict=True)):
                if draft.ended:
                    continue
                draft.ids.append(token)
                if token == config.seg_token:
                    draft.prompts.append(self.part.prompts_at(step.hidden[b]).float().cpu().numpy())
            yield step
            if all(draft.ended for draft in drafts):
                return

    def _inputs(self, dialogue: Dialogue, tokens: VisualTokens) -> Tensor:
        ids_BL = torch.from_numpy(dialogue.ids)[None].to(self.device)
        visual = from_wire(tokens.tokens).to(self.device)
        return self.part.fuse(self.part.embed(ids_BL), [visual], [dialogue.start])[0]

    def _reply(self, draft: _Draft) -> Reply:
        raw = self.scribe.decode(draft.ids)
        warnings: tuple[str, ...] = ()
        if raw.count(SEG) != len(draft.prompts):
            raw = self._only_true_segs(draft.ids)
            warnings = (f"{SEG} is spelled out in the reply: it has no mask",)
        parsed = parse_reply(raw)
        width = self.part.config.prompt_width
        prompts = np.stack(draft.prompts) if draft.prompts else np.zeros((0, width), np.float32)
        finish = "stop" if draft.stopped else "length"
        return Reply(raw, parsed.text, parsed.phrases, prompts, tuple(draft.ids), finish, (*parsed.warnings, *warnings))

    def _only_true_segs(self, ids: list[int]) -> str:
        """The text of a reply that spells ``[SEG]`` by other tokens too; those become ``[ SEG ]``, which asks for no mask."""
        pieces: list[list[int]] = [[]]
        for token in ids:
            if token == self.part.config.seg_token:
                pieces.append([])
            else:
                pieces[-1].append(token)
        return SEG.join(self.scribe.decode(piece).replace(SEG, "[ SEG ]") for piece in pieces)


@dataclass(frozen=True)
class PixelTask:
    """What to ground in one video. chunks: its grounding frames, see :class:`vglamm.pixel.footage.Footage`. prompts: float32[S, C].
    frames: K, how many frames there are. mode: "video" (from frame 0 through memory, as published), "frames" or "anchor"."""

    chunks: Chunks
    prompts: NDArray[np.float32]
    frames: int
    mode: str = "video"


class PixelStep(_Step[Pixel]):
    """Grounding frames and prompts -> tracks. Parameters stay float32. With bfloat16 the part runs in autocast, as SAM 2 itself
    does; with float16 it computes in float32, since memories are bfloat16 and the two do not mix."""

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
        footage = Footage(self.part, task.chunks, task.frames, keep=keep)
        prompts_SC = torch.from_numpy(task.prompts).to(self.device, torch.float32)
        return self._guarded(MODES[task.mode](self.part, footage, prompts_SC))

    def correct(self, chunks: Chunks, frames: int, marks: Marks) -> Iterator[Row]:
        """(position, [sight]) of one object that was marked by hand: first the marked frame, then those after it, then those before
        it, backwards. chunks, frames: as in :class:`PixelTask`. Memory is bounded as in anchor mode."""
        footage = Footage(self.part, chunks, frames, keep=frames <= self.part.config.cache)
        return self._guarded(by_marks(self.part, footage, marks))


def _column_major(part: nn.Module) -> None:
    """Lay the weights of linear layers out by columns: of a single token's row a CPU then reads them in order. Values and
    names stay."""
    for layer in part.modules():
        if type(layer) is nn.Linear:  # quantised layers are of other classes
            layer.weight.data = layer.weight.data.t().contiguous().t()


def to_wire(tokens: Tensor) -> NDArray[Any]:
    """A tensor as numpy; bfloat16, which numpy lacks, as uint16 of the same bits."""
    tokens = tokens.cpu()
    return (tokens.view(torch.uint16) if tokens.dtype == torch.bfloat16 else tokens).numpy()


def from_wire(tokens: NDArray[Any]) -> Tensor:
    """What :func:`to_wire` made, as a tensor."""
    tensor = torch.from_numpy(tokens)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
