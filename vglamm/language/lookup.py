"""Guesses at the next tokens, looked up in what was read and written before (prompt lookup decoding, known from transformers and
vLLM as n-gram speculation).

An answer repeats the words of its question, and each phrase is followed by the same tokens as the one before. A guess costs nothing
where weights are read from memory for each token anyway, and a wrong one changes nothing: the LM has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 3
"""Tokens before a place that must be those at the end for the tokens behind it to be guessed; fewer, down to one, if none match."""


class Lookup:
    """The ids so far, and what followed each few of them the last time they were there."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._ids: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        for length in range(1, min(LONGEST, len(self._ids)) + 1):
            self._behind[tuple(self._ids[-length:])] = token
        self._ids.append(token)

    def guess(self, count: int) -> list[int]:
        """At most ``count`` ids that may come next; fewer where nothing like the end was there before."""
        tail, guesses = self._ids[-LONGEST:], list[int]()
        while len(guesses) < count and (token := self._after(tail)) is not None:
            guesses.append(token)
            tail = [*tail, token][-LONGEST:]
        return guesses

    def _after(self, tail: list[int]) -> int | None:
        for begin in range(len(tail)):
            if (token := self._behind.get(tuple(tail[begin:]))) is not None:
                return token
        return None
