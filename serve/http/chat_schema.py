"""Requests of the OpenAI chat API as far as they mean something here. Unknown fields are passed over, as clients send many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.contract import Turns, Watching, Writing
from serve.schema import Mode, Number
from vglamm.errors import RequestRefused


class Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class TextPart(Loose):
    type: Literal["text"]
    text: str


class Url(Loose):
    url: Annotated[str, Field(min_length=1)]


class ImagePart(Loose):
    type: Literal["image_url"]
    image_url: Url


class VideoPart(Loose):
    type: Literal["video_url"]
    video_url: Url


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]
Parts = Annotated[list[Part], Field(max_length=64, fail_fast=True)]


class Message(Loose):
    """raw: of an assistant's message, as the response gave it: what the model wrote, with its tags."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Parts | None = None
    raw: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @property
    def urls(self) -> list[str]:
        parts = self.content if isinstance(self.content, list) else []
        images = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
        return images + [part.video_url.url for part in parts if isinstance(part, VideoPart)]


class StreamOptions(Loose):
    include_usage: bool = False


UNUSED = (
    "stop", "top_p", "tools", "tool_choice", "functions", "response_format", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs",
)  # fmt: skip
"""Fields that would change an answer elsewhere; here they are passed over, and the response says so."""


class ChatRequest(Loose):
    """fps, every_frame, limit, start, end, mode: as of ``POST /v1/answers``; the client's ``extra_body`` sends them."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: Annotated[str, Field(max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=100)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    n: Literal[1] | None = None
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    every_frame: bool = False
    limit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    start: Number | None = None
    end: Number | None = None
    mode: Mode = "video"

    @property
    def watching(self) -> Watching:
        return Watching(self.fps, self.every_frame, self.limit, self.start, self.end, self.mode)

    @property
    def writing(self) -> Writing:
        return Writing(self.max_completion_tokens or self.max_tokens, self.temperature or 0.0, self.seed or 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was asked for and is not done."""
        given = self.model_extra or {}
        return tuple(f"{name} was not used" for name in UNUSED if given.get(name) not in (None, False, [], {}))


@dataclass(frozen=True)
class Dialogue:
    """What a list of messages says: the one video, the turns before, the question; warnings: what was passed over."""

    video: str
    history: Turns
    question: str
    warnings: tuple[str, ...]


def dialogue(messages: list[Message]) -> Dialogue:
    """RequestRefused unless users and assistants take turns, a user has the last word, and there is one video or image."""
    spoken = [message for message in messages if message.role in ("user", "assistant")]
    if len(spoken) % 2 == 0 or any((message.role == "user") != (number % 2 == 0) for number, message in enumerate(spoken)):
        raise RequestRefused("messages that do not take turns", "user, assistant, ..., user", "send the whole talk in order")
    urls = [url for message in messages for url in message.urls]
    if len(urls) != 1:
        raise RequestRefused(f"{len(urls)} videos and images", "one in the whole talk", "send one image_url or video_url part")
    history = tuple(
        (asked.text, said.text if said.raw is None else said.raw) for asked, said in zip(spoken[:-1:2], spoken[1::2], strict=True)
    )
    passed = ("system messages were not used",) if len(spoken) < len(messages) else ()
    return Dialogue(urls[0], history, spoken[-1].text, passed)
