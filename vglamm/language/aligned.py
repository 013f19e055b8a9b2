"""Keys and values of sequences of different lengths that are written on together, and may come and go between two tokens.

All sequences end at the same column, so that a token of each is one column, and columns apart are positions apart, which windows
count by. What lies before the begin of a shorter sequence is masked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from vglamm.errors import ConfigError
from vglamm.language.cache import BLOCK


class Columns:
    """Keys, or values, of one layer: a room float[R, heads, C, width], of which the columns before ``stop`` are written."""

    def __init__(self) -> None:
        self.room: Tensor | None = None
        self.stop = 0

    def put(self, row: int, past: Tensor, held: int) -> None:
        """Lay float[heads, L, width] into a row, its last position at the common end. held: columns that other rows need."""
        length = past.shape[1]
        room = self._roomy(past[None], row + 1, max(held, length), 0)
        room[row, :, self.stop - length : self.stop] = past

    def append(self, new: Tensor, held: int) -> Tensor:
        """Write float[B, heads, L, width] behind the first B rows; a view of that and the ``held`` columns before it."""
        count = new.shape[2]
        room = self._roomy(new, len(new), held, count)
        room[: len(new), :, self.stop : self.stop + count] = new
        self.stop += count
        return room[: len(new), :, self.stop - count - held : self.stop]

    def move(self, source: int, target: int, held: int) -> None:
        assert self.room is not None, "rows to move"
        self.room[target, :, self.stop - held : self.stop] = self.room[source, :, self.stop - held : self.stop]

    def clear(self) -> None:
        self.room, self.stop = None, 0

    def _roomy(self, like: Tensor, rows: int, held: int, new: int) -> Tensor:
        """The room, moved if it has too few rows, too few columns before the end (``held``) or too few behind it (``new``)."""
        old = self.room
        if old is not None and rows <= len(old) and held <= self.stop and self.stop + new <= old.shape[2]:
            return old
        height = rows if old is None else len(old) if rows <= len(old) else max(rows, 2 * len(old))
        # Zeros, since what is masked must still be finite.
        room = like.new_zeros(height, like.shape[1], held + max(BLOCK, new), like.shape[3])
        if old is not None:
            kept = min(held, self.stop)
            room[: len(old), :, held - kept : held] = old[:, :, self.stop - kept : self.stop]
        self.room, self.stop = room, held
        return room


class Aligned(DynamicLayer):  # type: ignore[misc]
    """One layer for all rows. lengths: of the sequences so far, shared by all layers. window: positions that a token sees, itself
    counted; None for all."""

    def __init__(self, lengths: list[int], window: int | None) -> None:
        super().__init__()
        self.lengths, self.window = lengths, window
        self.is_sliding = window is not None
        self.columns = Columns(), Columns()

    @property
    def held(self) -> int:
        """Columns that the next token of some row sees, itself not counted."""
        return self.seen(self.get_seq_length())

    def seen(self, length: int) -> int:
        return length if self.window is None else min(length, self.window - 1)

    def put(self, row: int, past: Any) -> None:
        """Lay what a sequence of its own left in this layer into a row. Call before its length is added."""
        for column, tensor in zip(self.columns, (past.keys, past.values), strict=True):
            column.put(row, tensor[0], self.held)

    def move(self, source: int, target: int) -> None:
        for column in self.columns:
            column.move(source, target, self.seen(self.lengths[source]))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.columns
        return keys.append(key_states, self.held), values.append(value_states, self.held)

    def drop(self, count: int) -> None:
        """Take back the last positions that ``update`` wrote."""
        for column in self.columns:
            column.stop -= count

    def get_seq_length(self) -> int:
        return max(self.lengths, default=0)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.held + query_length, self.get_seq_length() - self.held


class Sequences:
    """The sequences of a running batch: their cache, which ``Language.extend`` takes, and their lengths."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.cache = DynamicCache()
        self.cache.layers = []

    def join(self, past: DynamicCache) -> None:
        """Add the sequence of a prefill of one row, as the last row."""
        if not self.cache.layers:
            self.cache.layers = [Aligned(self.lengths, _window(layer)) for layer in past.layers]
        for layer, own in zip(self.cache.layers, past.layers, strict=True):
            layer.put(len(self.lengths), own)
        self.lengths.append(past.get_seq_length())

    def leave(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        last = len(self.lengths) - 1
        for layer in self.cache.layers:
            if row != last:
                layer.move(last, row)
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            for layer in self.cache.layers:
                for column in layer.columns:
                    column.clear()

    def mask(self, device: torch.device, new: int) -> Tensor:
        """bool[B, M]: which of the M columns, those of the ``new`` next tokens included, belong to each row."""
        lengths = torch.tensor(self.lengths, device=device)
        longest = max(self.lengths)
        return torch.arange(longest + new, device=device) >= (longest - lengths)[:, None]

    def keep(self, kept: int, written: int) -> None:
        """Count the first ``kept`` of the ``written`` tokens that ``extend`` wrote behind each row, and forget the others."""
        if kept < written:
            for layer in self.cache.layers:
                layer.drop(written - kept)
        self.lengths[:] = [length + kept for length in self.lengths]


def _window(layer: Any) -> int | None:
    if isinstance(layer, DynamicSlidingWindowLayer):
        return int(layer.sliding_window)
    if isinstance(layer, DynamicLayer):
        return None
    raise ConfigError(
        f"an LM with layers of {type(layer).__name__}", "layers of full or sliding attention", "take an LM of another family"
    )
