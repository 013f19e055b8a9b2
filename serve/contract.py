"""The border between HTTP and what answers: requests, events and the protocol of a backend. No torch, no Ray, no HTTP.

A video is known by its name in the spool, which both sides can read. Errors are those of :mod:`vglamm.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

from vglamm.answer import Answer
from vglamm.records import Sight

Turns = tuple[tuple[str, str], ...]
"""(question, raw answer) of earlier turns about the same video."""


@dataclass(frozen=True)
class Watching:
    """Which frames are looked at and how masks are made: the options of :meth:`vglamm.walk.Walk.watch`. start, end: seconds since
    the first frame."""

    fps: float | None = None
    every_frame: bool = False
    limit: int | None = None
    start: float | None = None
    end: float | None = None
    mode: str = "video"

    @property
    def sampling(self) -> dict[str, Any]:
        """The options of :func:`vglamm.frames.choose`."""
        return {"fps": self.fps, "every_frame": self.every_frame, "limit": self.limit, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class Writing:
    """How an answer is written. max_new_tokens: None takes the model's. temperature: 0 is greedy."""

    max_new_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        return {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "seed": self.seed}


@dataclass(frozen=True)
class Ask:
    """One question about one video. video: its name in the spool. session: visual tokens are kept under it, so that a further
    question does not encode the video again; place: where an earlier answer left them (:attr:`Done.place`). history: always given,
    so that any replica can go on where another was lost.
    model: "" is the default one. source: what ``Answer.source`` shall say to the user. live: somebody reads the text while it is
    written; else it may come in two pieces, the first one and the rest."""

    video: str
    question: str
    sampling: Watching = field(default_factory=Watching)
    writing: Writing = field(default_factory=Writing)
    session: str | None = None
    history: Turns = ()
    model: str = ""
    source: str = ""
    request_id: str = ""
    live: bool = True
    place: str = ""


@dataclass(frozen=True)
class Correct:
    """A click on a wrong mask. ask, answer: the turn to correct. track: which mask. position: on which grounding frame. points:
    (x, y, whether the object is there) and box: [x0, y0, x1, y1], both in source pixels, at least one of them."""

    ask: Ask
    answer: Answer
    track: int
    position: int
    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Text:
    """A piece of the raw text, tags included, as it was written."""

    piece: str


@dataclass(frozen=True)
class PhraseFound:
    """A ``[SEG]`` fell: the phrase it grounds, None if it has none, and its track."""

    track: int
    text: str | None


@dataclass(frozen=True)
class Seen:
    """The masks of all tracks on one grounding frame. position: of the frame in ``Answer.sampling``. time: in seconds."""

    position: int
    time: float
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class Done:
    """The end. first_token_s, first_mask_s: seconds from the request to the first piece of text (of a correction: 0) and to the
    first mask (None without one). read_tokens, written_tokens: of the question with its video and history, and of the answer; None
    if the backend does not count them. place: who keeps the visual tokens of the session, "" if only this backend knows."""

    answer: Answer
    first_token_s: float
    first_mask_s: float | None
    read_tokens: int | None = None
    written_tokens: int | None = None
    place: str = ""


Event = Text | PhraseFound | Seen | Done


@dataclass(frozen=True)
class VideoFacts:
    """What a video of the spool is. size: (height, width) as shown. fps: average rate, 0 for an image."""

    size: tuple[int, int]
    frames: int
    seconds: float
    fps: float
    is_image: bool = False


class Backend(Protocol):
    """What answers. Every method raises VglammError; closing a stream stops its work within one frame or step of the LM."""

    def stream(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Text and phrases as they are written, then Seen for each grounding frame in order (none without phrases), then Done."""
        ...

    def correct(self, correction: Correct) -> AsyncGenerator[Event, None]:
        """The corrected frame first, then those after it, then those before it, each as a Seen with the masks of all tracks; then
        Done with the corrected answer."""
        ...

    async def probe(self, video: str) -> VideoFacts:
        """Examine a video of the spool within limits, in a guarded child."""
        ...

    async def forget(self, session: str, place: str = "") -> None:
        """Drop what is kept under a session, here and at ``place``; nothing happens if there is none."""
        ...

    async def models(self) -> tuple[str, ...]:
        """Names of the models that are served, the default one first."""
        ...

    async def ready(self) -> bool:
        """Whether a question would be answered now."""
        ...
