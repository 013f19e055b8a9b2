"""A reply while it is written: its tokens so far, what of them can be shown, and the Reply they make in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vglamm.language.dialogue import SEG, Scribe
from vglamm.language.phrases import parse_reply
from vglamm.records import Reply


@dataclass
class Draft:
    """room: tokens it may have."""

    scribe: Scribe
    room: int
    ids: list[int] = field(default_factory=list)
    prompts: list[NDArray[np.float32]] = field(default_factory=list)
    _shown: int = 0
    _told: int = 0

    @property
    def stopped(self) -> bool:
        return bool(self.ids) and self.ids[-1] in self.scribe.config.stop_tokens

    @property
    def ended(self) -> bool:
        return self.stopped or len(self.ids) >= self.room

    def news(self) -> Iterator[str | NDArray[np.float32]]:
        """The raw text that came since the last call, then the prompts float[C] of its ``[SEG]``."""
        text = self.scribe.decode(self.ids)
        if text.endswith("\ufffd") and not self.ended:
            return  # half a character: its other bytes come with the next tokens
        if text[self._shown :]:
            yield text[self._shown :]
            self._shown = len(text)
        yield from self.prompts[self._told :]
        self._told = len(self.prompts)

    def reply(self) -> Reply:
        raw = self.scribe.decode(self.ids)
        warnings: tuple[str, ...] = ()
        if raw.count(SEG) != len(self.prompts):
            raw = self._only_true_segs()
            warnings = (f"{SEG} is spelled out in the reply: it has no mask",)
        parsed = parse_reply(raw)
        prompts = np.stack(self.prompts) if self.prompts else np.zeros((0, self.scribe.config.prompt_width), np.float32)
        finish = "stop" if self.stopped else "length"
        return Reply(raw, parsed.text, parsed.phrases, prompts, tuple(self.ids), finish, (*parsed.warnings, *warnings))

    def _only_true_segs(self) -> str:
        """The text of a reply that spells ``[SEG]`` by other tokens too; those become ``[ SEG ]``, which asks for no mask."""
        pieces: list[list[int]] = [[]]
        for token in self.ids:
            if token == self.scribe.config.seg_token:
                pieces.append([])
            else:
                pieces[-1].append(token)
        return SEG.join(self.scribe.decode(piece).replace(SEG, "[ SEG ]") for piece in pieces)
