"""Objects of several videos through time in one batch, as long as the videos are at the same frame.

A batch of few objects costs little more than one object (``benchmarks/objects.py``), so videos that are tracked at the same time
share it: what SAM 2 keeps of their objects is laid together once, when they begin to go abreast, and taken apart when one of them
ends or goes with others. Alone, a video is tracked bit for bit as without this; in company its logits differ in their last bits,
as batches of other sizes do. Shapes: see :mod:`vglamm.model`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vglamm.pixel.decoder import Features, MaskLogits, Pixel
from vglamm.pixel.footage import Footage
from vglamm.pixel.sight import Row, look
from vglamm.pixel.track import Due, Tracker


class Trail(Iterator[Row]):
    """Rows of one video: every object prompted on frame 0 and carried forwards, as published. prompts: float[S, C]."""

    def __init__(self, pixel: Pixel, footage: Footage, prompts_SC: Tensor) -> None:
        self.tracker, self.footage = Tracker(pixel, prompts_SC, footage.frames), footage
        self.prompts_SC = prompts_SC
        self.rank: Rank | None = None
        self.at = -1
        self.features: Features | None = None
        self._frames = footage.forwards()

    def fetch(self) -> bool:
        """Have the next frame's features ready, if that is not yet so; False after the last frame."""
        if self.features is None:
            self.at, self.features = next(self._frames, (self.at, None))
        return self.features is not None

    def __next__(self) -> Row:
        if not self.fetch():
            raise StopIteration
        [row] = step([self])
        return row

    @property
    def pace(self) -> tuple[int, int, int]:
        """Trails of equal pace can go abreast: one pixel part, one frame, as many pointers to be seen from there."""
        return id(self.tracker.pixel), self.at, min(self.footage.frames, self.tracker.pixel.sam.max_obj_ptrs_in_encoder)


class Rank:
    """Trails whose objects share a tracker while they stay together."""

    def __init__(self, trails: Sequence[Trail]) -> None:
        self.trails, self.sizes = tuple(trails), [len(trail.prompts_SC) for trail in trails]
        own = [trail.tracker for trail in trails]
        self.tracker = Tracker(own[0].pixel, torch.cat([trail.prompts_SC for trail in trails]), own[0].frames)
        for kind, frames in own[0].memory.items():
            self.tracker.memory[kind] = {at: _joined([tracker.memory[kind][at] for tracker in own]) for at in frames}
        dues = [tracker.due for tracker in own if tracker.due is not None]
        if dues:
            feats = [torch.cat(level, dim=1) for level in zip(*(due.feats for due in dues), strict=True)]
            self.tracker.due = Due(_joined([due.out for due in dues]), feats, dues[0].sizes, dues[0].index, dues[0].first)
        for trail in trails:
            trail.rank = self

    def step(self) -> list[MaskLogits]:
        """Logits of the next frame, by trail."""
        own = [trail.features for trail in self.trails if trail.features is not None]
        levels = [
            torch.cat([level.expand(size, -1, -1, -1) for level, size in zip(same, self.sizes, strict=True)])
            for same in zip(*(features.levels for features in own), strict=True)
        ]
        out = self.tracker.step(Features(tuple(levels), own[0].position), self.trails[0].at)
        parts = zip(*(tensor.split(self.sizes) for tensor in (out.masks, out.objectness, out.iou)), strict=True)
        return [MaskLogits(*part) for part in parts]

    def part(self) -> None:
        """Give every trail what belongs to its objects."""
        begin = 0
        for trail, size in zip(self.trails, self.sizes, strict=True):
            mine = slice(begin, begin + size)
            trail.tracker.memory = {
                kind: {at: _cut(kept, mine) for at, kept in frames.items()} for kind, frames in self.tracker.memory.items()
            }
            due = self.tracker.due
            trail.tracker.due = due and Due(
                _cut(due.out, mine), [level[:, mine] for level in due.feats], due.sizes, due.index, due.first
            )
            trail.rank, begin = None, begin + size


def step(trails: Sequence[Trail]) -> list[Row]:
    """The next row of each, whose frame was fetched; those of equal pace in one batch."""
    paces: dict[tuple[int, int, int], list[Trail]] = {}
    for trail in trails:
        paces.setdefault(trail.pace, []).append(trail)
    rows = {trail: row for group in paces.values() for trail, row in _rows(group)}
    return [rows[trail] for trail in trails]


def _rows(group: list[Trail]) -> Iterator[tuple[Trail, Row]]:
    rank = group[0].rank
    if rank is None or set(rank.trails) != set(group):
        for trail in group:
            if trail.rank is not None:
                trail.rank.part()
        rank = Rank(group) if len(group) > 1 else None
    logits = (
        rank.step() if rank else [trail.tracker.step(trail.features, trail.at) for trail in group if trail.features is not None]
    )
    for trail, own in zip(rank.trails if rank else group, logits, strict=True):
        yield trail, (trail.at, look(own, trail.footage.size))
        trail.features = None


def _joined(rows: Sequence[Any]) -> Any:
    """Tensors, or lists or dicts of them, of several videos as one, along their objects."""
    first = rows[0]
    if isinstance(first, dict):
        return {name: _joined([row[name] for row in rows]) for name in first}
    if isinstance(first, list):
        return [_joined(list(row)) for row in zip(*rows, strict=True)]
    return torch.cat(list(rows))


def _cut(whole: Any, mine: slice) -> Any:
    """The part of some objects of what :func:`_joined` made."""
    if isinstance(whole, dict):
        return {name: _cut(value, mine) for name, value in whole.items()}
    if isinstance(whole, list):
        return [_cut(value, mine) for value in whole]
    return whole[mine].clone()  # else it would hold the others' memory too
