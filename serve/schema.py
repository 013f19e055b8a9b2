"""What requests hold and what responses look like, as published in ``/openapi.json``. The JSON of an answer has its own schema,
``docs/answer.schema.json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.contract import Watching, Writing
from serve.store.spool import PATTERNS, SESSIONS

SessionId = Annotated[str, Field(pattern=PATTERNS[SESSIONS])]
Mode = Literal["video", "frames", "anchor"]
Number = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Side = Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Options(Strict):
    """How a video is watched and an answer is written, as of `vglamm ask`. start, end: seconds since the first frame."""

    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    every_frame: bool = False
    limit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    start: Number | None = None
    end: Number | None = None
    mode: Mode | None = None
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    model: Annotated[str, Field(max_length=200)] = ""

    @property
    def watching(self) -> Watching:
        return Watching(self.fps, self.every_frame, self.limit, self.start, self.end, self.mode or "video")

    @property
    def writing(self) -> Writing:
        return Writing(self.max_new_tokens, self.temperature, self.seed)


class Question(Options):
    """One question. video: an id, a data URL, or an address that the server may fetch; none with a session, which has its own."""

    question: Annotated[str, Field(min_length=1)]
    video: Annotated[str, Field(min_length=1)] | None = None
    session: SessionId | None = None
    stream: bool = Field(False, description="Server-sent events: text, phrase, masks, answer, error.")
    keep: bool = Field(True, description="False: nothing is kept of this question, neither a session nor a video sent with it.")
    alone: bool = Field(False, description="The model is not told the earlier turns of the session; its video is still seen once.")


class JobRequest(Options):
    """A question to be answered in the background."""

    question: Annotated[str, Field(min_length=1)]
    video: Annotated[str, Field(min_length=1)] | None = None


class VideoRequest(Strict):
    """A video that is not uploaded as bytes: a data URL, or an address that the server may fetch."""

    video: Annotated[str, Field(min_length=1)]


class Correction(Strict):
    """A click on a wrong mask. points: [x, y, 1 or 0]: the object is there, or is not. box: [x0, y0, x1, y1]. Source pixels."""

    turn: Annotated[int, Field(ge=0, le=10_000)]
    track: Annotated[int, Field(ge=0, le=10_000)]
    position: Annotated[int, Field(ge=0, le=1_000_000, description="Which grounding frame.")]
    points: Annotated[list[tuple[Side, Side, Annotated[int, Field(ge=0, le=1)]]], Field(max_length=64)] = []
    box: tuple[Side, Side, Side, Side] | None = None
    stream: bool = False


class ExportRequest(Strict):
    session: SessionId
    turn: Annotated[int, Field(ge=0, le=10_000)]
    format: Literal["mp4", "json", "coco"]


class Video(BaseModel):
    """A video of the spool. size: [height, width]. fps: 0 for an image."""

    video: str
    seconds: float
    frames: int
    size: tuple[int, int]
    fps: float
    is_image: bool
    expires_in_s: float


class Answered(BaseModel):
    """answer: see docs/answer.schema.json. session, turn: to go on with; null where nothing is kept. written_tokens: of the answer;
    null where none was written, as of a correction."""

    answer: dict[str, Any]
    session: str | None
    turn: int
    video: str
    first_token_s: float
    first_mask_s: float | None
    written_tokens: int | None


class Turn(BaseModel):
    turn: int
    question: str
    text: str
    corrected: int


class Session(BaseModel):
    session: str
    video: str
    model: str
    turns: list[Turn]


class Progress(BaseModel):
    """text: written so far, with tags. frames: whose masks are made. share: of the video, 0..1."""

    text: str = ""
    frames: int = 0
    share: float = 0.0


class Error(BaseModel):
    code: str
    message: str
    request_id: str


class Failure(BaseModel):
    error: Error


class Job(BaseModel):
    """attempts: how often it was begun, full queues not counted. result: where its answer is, once it is done."""

    job: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    question: str
    video: str
    created: float
    attempts: int
    progress: Progress
    error: Error | None
    result: str | None


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "vglamm"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    status: Literal["ok", "waiting"]
