"""Keys and values of what was read and written so far, laid out so that one more token costs one more token.

The cache of transformers joins all that it holds with each new token by a copy, which at a few hundred positions costs as much as
the arithmetic of the token itself. Here new positions are written behind the old ones, in room that was made before.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

BLOCK = 256
"""Positions of free room behind those that are held; when it is used up, what is held moves once to a new room."""


class Tape:
    """Keys, or values, float[B, heads, L, width] of one layer. keep: positions that later tokens can still see, None for all."""

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self.held: Tensor | None = None
        self._room: Tensor | None = None
        self._stop = 0

    def append(self, past: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """past: what is held, in general the second result of the last call (anything else, say a cut of it, is copied).

        Returns all positions of both, float[B, heads, L + new, width], and those of them to hold. Both are views.
        """
        if self._room is None or past is not self.held or self._stop + new.shape[2] > self._room.shape[2]:
            self._room = self._moved(past, new)
            self._stop = past.shape[2]
        begin, self._stop = self._stop, self._stop + new.shape[2]
        self._room[:, :, begin : self._stop] = new
        whole = self._room[:, :, begin - past.shape[2] : self._stop]
        self.held = whole if self.keep is None else whole[:, :, -self.keep :]
        return whole, self.held

    @staticmethod
    def _moved(past: Tensor, new: Tensor) -> Tensor:
        batch, heads, length, width = new.shape
        room = new.new_empty(batch, heads, past.shape[2] + length + BLOCK, width)
        room[:, :, : past.shape[2]] = past
        return room


class Full(DynamicLayer):  # type: ignore[misc]
    """A layer that sees everything."""

    def __init__(self) -> None:
        super().__init__()
        self.tapes = Tape(), Tape()

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, self.keys = self.tapes[0].append(self.keys, key_states)
        values, self.values = self.tapes[1].append(self.values, value_states)
        return keys, values


class Window(DynamicSlidingWindowLayer):  # type: ignore[misc]
    """A layer in which a position sees itself and the ``sliding_window - 1`` before it."""

    def __init__(self, sliding_window: int) -> None:
        super().__init__(sliding_window)
        self.tapes = Tape(sliding_window - 1), Tape(sliding_window - 1)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.cumulative_length += key_states.shape[2]
        keys, self.keys = self.tapes[0].append(self.keys, key_states)
        values, self.values = self.tapes[1].append(self.values, value_states)
        return keys, values


def new_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache for an LM. Layers of other kinds than full and sliding attention keep the cache of transformers."""
    cache = DynamicCache(config=config)
    cache.layers = [_in_place(layer) for layer in cache.layers]
    return cache


def _in_place(layer: Any) -> Any:
    if type(layer) is DynamicSlidingWindowLayer:
        return Window(layer.sliding_window)
    return Full() if type(layer) is DynamicLayer else layer
