"""Grounding frames and prompts -> tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vglamm import checkpoint
from vglamm.checkpoint import Dtype, Source
from vglamm.compose import tracks
from vglamm.errors import MaskError
from vglamm.pixel import abreast
from vglamm.pixel.abreast import Trail
from vglamm.pixel.anchor import MODES, check_mode
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.footage import Ahead, Chunks, Footage
from vglamm.pixel.marks import by_marks
from vglamm.pixel.sight import Row
from vglamm.records import Marks, PixelInput, Track
from vglamm.steps.step import Step, suited


@dataclass(frozen=True)
class PixelTask:
    """What to ground in one video. chunks: its grounding frames, see :class:`vglamm.pixel.footage.Footage`, or what
    :meth:`PixelStep.footage` made of them. prompts: float32[S, C]. frames: K, how many frames there are. mode: "video" (from frame
    0 through memory, as published), "frames" or "anchor". ahead: what :meth:`PixelStep.ahead` made of this video."""

    chunks: Chunks | Footage
    prompts: NDArray[np.float32]
    frames: int
    mode: str = "video"
    ahead: Ahead | None = None


class PixelStep(Step[Pixel]):
    """Grounding frames and prompts -> tracks. Parameters stay float32. With bfloat16 the part runs in autocast, as SAM 2 itself
    does; with float16 it computes in float32, since memories are bfloat16 and the two do not mix."""

    @staticmethod
    def load(source: Source, *, device: torch.device | str = "cpu", dtype: Dtype = None) -> PixelStep:
        """That of a checkpoint. dtype: see :func:`suited`."""
        part = checkpoint.load(source, part="pixel", device=device)
        return PixelStep(part, device=device, dtype=suited(source, "pixel", device, dtype))

    def _cast(self, dtype: torch.dtype) -> None:
        super()._cast(torch.float32)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """In inference mode, and in the precision that the part computes in."""
        half = self.dtype == torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype) if half else nullcontext():
            yield

    def __call__(self, tasks: Sequence[PixelTask]) -> list[tuple[Track, ...]]:
        """One track for each prompt of each task. Nothing is read or run for a video without prompts."""
        return [tracks([row for _, row in self.stream(task)], len(task.prompts)) for task in tasks]

    def stream(self, task: PixelTask) -> Rows:
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
            return Rows(self, iter(()))
        footage = task.chunks
        if not isinstance(footage, Footage):
            keep = task.mode == "anchor" and task.frames <= self.part.config.cache
            footage = Footage(self.part, footage, task.frames, keep=keep, ahead=task.ahead)
        prompts_SC = torch.from_numpy(task.prompts).to(self.device, torch.float32)
        return Rows(self, MODES[task.mode](self.part, footage, prompts_SC))

    def footage(self, chunks: Chunks, frames: int) -> Footage:
        """For several tasks about one video: the features of at most ``config.cache`` frames are kept on the device from the first
        on; of a longer video none."""
        return Footage(self.part, chunks, frames, keep=frames <= self.part.config.cache)

    def ahead(self, chunks: Sequence[PixelInput]) -> Ahead:
        """What can be done before there are prompts: features of the first frames, of all in ``chunks`` at most. They stay on the
        device."""
        with self.ready():
            return Footage(self.part, chunks, sum(len(chunk.frames) for chunk in chunks)).ahead()

    def correct(self, chunks: Chunks, frames: int, marks: Marks) -> Rows:
        """(position, [sight]) of one object that was marked by hand: first the marked frame, then those after it, then those before
        it, backwards. chunks, frames: as in :class:`PixelTask`. Memory is bounded as in anchor mode."""
        return Rows(self, by_marks(self.part, self.footage(chunks, frames), marks))


class Rows(Iterator[Row]):
    """Rows of one video, each made in inference mode when it is asked for, without leaving the consumer in it between two."""

    def __init__(self, step: PixelStep, source: Iterator[Row]) -> None:
        self.step, self.source = step, source
        self._row: Row | None = None

    def fetch(self) -> bool:
        """Have ready what the next row is made of; False after the last. What is wrong with this video is raised here."""
        with self.step.ready():
            if isinstance(self.source, Trail):
                return self.source.fetch()
            self._row = self._row or next(self.source, None)
            return self._row is not None

    def __next__(self) -> Row:
        if not self.fetch():
            raise StopIteration
        [row] = together([self])
        return row


def together(streams: Sequence[Rows]) -> list[Row]:
    """The next row of each, which was fetched. Videos in video mode that are at the same frame are tracked in one batch."""
    made: dict[Rows, Row] = {}
    for step in dict.fromkeys(rows.step for rows in streams):
        trails = {rows.source: rows for rows in streams if rows.step is step and isinstance(rows.source, Trail)}
        with step.ready():
            made |= zip(trails.values(), abreast.step(list(trails)), strict=True)
    for rows in streams:
        if rows._row is not None:
            made[rows], rows._row = rows._row, None
    return [made[rows] for rows in streams]
