"""The endpoint as bulk annotation asks it: one upload for all questions about a video, each question alone, nothing left behind."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serve.client import Client
from vglamm.answer import Answer
from vglamm.errors import DialogueError, MaskError, ServeError, VglammError, VideoFrameError

_OF_A_QUESTION = (DialogueError, VideoFrameError, MaskError)
PATIENCE = 3600.0
"""Seconds that an overloaded server is waited for: a bulk job has time."""
_TURNS = 16
"""After so many questions the next session: a server bounds them."""


class Remote:
    """model: its name on the server, "" for the default one. at_once: videos at a time."""

    def __init__(self, url: str, token: str | None = None, *, model: str = "", at_once: int = 4) -> None:
        self.client, self.model, self.at_once = Client(url, token, patience=PATIENCE), model, at_once

    def close(self) -> None:
        self.client.close()

    def identity(self) -> str:
        """What the answers say of their model, asked of it with the smallest of images."""
        said = self.client.ask(_pixel(), "What is it?", model=self.model, keep=False, max_new_tokens=1)
        return said.answer.model

    def answers(self, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Iterator[Answer | VglammError]:
        """The video's tokens are kept in a session while it lasts; no question is told of another."""
        video, session = self.client.upload(path), None
        writing = {"max_new_tokens": options.get("max_new_tokens"), "mode": options.get("mode")}
        try:
            for question in questions:
                place = {"video": video, "model": self.model, **options} if session is None else {"session": session}
                try:
                    said = self.client.ask(question=question, alone=True, **(place | writing))
                except _OF_A_QUESTION as error:
                    yield error
                    continue
                session = said.session
                yield said.answer
                if said.turn + 1 == _TURNS and session is not None:
                    self.client.end(session)
                    session = None
        finally:
            with contextlib.suppress(ServeError):  # they may have expired
                if session is not None:
                    self.client.end(session)
                self.client.delete(video)


def _pixel() -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
