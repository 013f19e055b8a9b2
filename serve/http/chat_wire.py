"""Responses of the OpenAI chat API. What it has no word for stands in one extra field, ``vglamm``: phrases, masks, the answer."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from serve.contract import PhraseFound, Seen, Text
from serve.events import Turned, Wired, sight
from vglamm.language.phrases import parse_reply

EXTRA = "vglamm"
END = b"data: [DONE]\n\n"
_UNSETTLED = re.compile(r"(?:<[/p>]{0,2}|\[[SEG]{0,3}|(?<![^\s>\]])(?:[.,;:!?…]+|['’]\w{0,2}))$")
"""What may still become a tag, or a word before which no blank stands."""


@dataclass
class Written:
    """Raw text as it grows, and what of its reading is settled: tags and blanks at the end may still become something else."""

    raw: str = ""
    shown: str = ""
    pieces: int = 0

    def add(self, piece: str) -> str:
        """The text for people that a piece adds."""
        self.raw += piece
        self.pieces += 1
        return self._more(parse_reply(_UNSETTLED.sub("", self.raw)).text.rstrip())

    def finish(self, text: str) -> str:
        """What is left to say of the whole text."""
        return self._more(text)

    def _more(self, text: str) -> str:
        if not text.startswith(self.shown):
            return ""
        more, self.shown = text[len(self.shown) :], text
        return more


@dataclass
class Completion:
    """One response, whole or in chunks. name: of the model. usage: whether the last chunk counts tokens."""

    request_id: str
    name: str
    warnings: tuple[str, ...] = ()
    usage: bool = True
    written: Written = field(default_factory=Written)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, end: Turned) -> dict[str, Any]:
        answer = end.done.answer
        message = {"role": "assistant", "content": answer.text, "refusal": None, "raw": answer.raw}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
        return self._head("chat.completion") | {"choices": [choice], "usage": self._used(end), EXTRA: self._extra(end)}

    def chunks(self, event: Wired) -> list[bytes]:
        """What a client hears of one event."""
        match event:
            case Text(piece):
                more = self.written.add(piece)
                return [self._chunk({"content": more})] if more else []
            case PhraseFound(track, text):
                return [self._chunk({}, phrase={"track": track, "text": text})]
            case Seen(position, at, sights):
                return [self._chunk({}, masks={"position": position, "time": at, "sights": [sight(one) for one in sights]})]
            case Turned():
                return self._ending(event)

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def _ending(self, end: Turned) -> list[bytes]:
        left = self.written.finish(end.done.answer.text)
        chunks = [self._chunk({"content": left})] if left else []
        chunks.append(self._chunk({}, finish=end.done.answer.finish, **self._extra(end)))
        if self.usage:
            body = self._head("chat.completion.chunk") | {"choices": [], "usage": self._used(end)}
            chunks.append(_data(body))
        return [*chunks, END]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data(self._head("chat.completion.chunk") | {"choices": [choice]} | ({EXTRA: extra} if extra else {}))

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.request_id}", "object": kind, "created": self.created, "model": self.name}

    def _used(self, end: Turned) -> dict[str, int]:
        """A backend that does not count leaves the pieces of text, of which a token makes one."""
        read = end.done.read_tokens or 0
        wrote = self.written.pieces if end.done.written_tokens is None else end.done.written_tokens
        return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}

    def _extra(self, end: Turned) -> dict[str, Any]:
        told = {"first_token_s": end.done.first_token_s, "first_mask_s": end.done.first_mask_s, "warnings": list(self.warnings)}
        answer = json.loads(end.done.answer.to_json())
        return {"phrases": answer["phrases"], "tracks": answer["tracks"], "answer": answer, **told}


def _data(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
