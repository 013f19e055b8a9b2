"""The endpoint as bulk annotation asks it: one upload for all questions about a video, each question alone, nothing left behind."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serve.client import ANSWER_SECONDS, Answered, Client
from vglamm.errors import (
    AnswerTooSlow,
    DialogueError,
    EnvironmentProblem,
    MaskError,
    RequestRefused,
    ServeError,
    VglammError,
    VideoFrameError,
)

_OF_A_QUESTION = (DialogueError, VideoFrameError, MaskError, AnswerTooSlow, RequestRefused)
PATIENCE = 3600.0
"""Seconds that an overloaded server is waited for: a bulk job has time."""
_TURNS = 16
"""After so many questions the next session: a server bounds them."""


class Remote:
    """model: its name on the server, "" for the default one. at_once: videos at a time. seconds: as of the client."""

    def __init__(
        self, url: str, token: str | None = None, *, model: str = "", at_once: int = 4, seconds: float = ANSWER_SECONDS
    ) -> None:
        self.client, self.model, self.at_once = Client(url, token, patience=PATIENCE, seconds=seconds), model, at_once

    def close(self) -> None:
        self.client.close()

    def leave(self) -> None:
        """Ends what is heard at its next sign of life; the server stops that work, and drops in its time what it keeps of it."""
        self.client.close()

    def identity(self) -> str:
        """What the answers say of their model, asked of it with the smallest of images."""
        said = self.client.ask(_pixel(), "What is it?", model=self.model, keep=False, max_new_tokens=1)
        return said.answer.model

    def answers(self, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Iterator[Answered | VglammError]:
        """The video's tokens are kept in a session while it lasts; no question is told of another. A question about which a ready
        server is silent fails alone. EnvironmentProblem if it is the server that hangs."""
        with self._judged():
            video = self.client.upload(path)
        session, there = None, True
        writing = {"max_new_tokens": options.get("max_new_tokens"), "mode": options.get("mode")}
        try:
            for question in questions:
                place = {"video": video, "model": self.model, **options} if session is None else {"session": session}
                try:
                    with self._judged():
                        said = self.client.wait(question=question, alone=True, **(place | writing))
                except _OF_A_QUESTION as error:
                    yield error
                    continue
                session = said.session
                yield said
                if said.turn + 1 == _TURNS and session is not None:
                    self.client.end(session)
                    session = None
        except EnvironmentProblem:
            there = False
            raise
        finally:
            with contextlib.suppress(ServeError):  # they may have expired
                if there and session is not None:
                    self.client.end(session)
                if there:
                    self.client.delete(video)

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        """Whose fault a silence is."""
        try:
            yield
        except AnswerTooSlow as error:
            if self._there():
                raise
            raise EnvironmentProblem(
                f"no word from {self.client.url} for {self.client.seconds:g} s, nor that it is ready",
                "an endpoint that works",
                "look at its log and start it again; then the same command goes on",
            ) from error

    def _there(self) -> bool:
        try:
            return self.client.ready()
        except AnswerTooSlow:
            return False


def _pixel() -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
