"""A client of the endpoint: answers as :class:`~vglamm.answer.Answer`, streams as events, refusals as the errors of the package.

with Client("http://127.0.0.1:8000") as client:
    video = client.upload("clip.mp4")
    said = client.ask(video, "Segment the dog.")
    said.answer.save_overlay("dog.mp4", "clip.mp4")
    more = client.ask(question="What is left of it?", session=said.session)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import httpx2

from serve.contract import PhraseFound, Seen, Text, Watching, Writing
from serve.errors import code_of
from vglamm import errors
from vglamm.answer import Answer
from vglamm.errors import AnswerTooSlow, EnvironmentProblem, Overloaded, ServeError, VglammError, WorkerLost
from vglamm.records import Sight

_MESSAGE = re.compile(r"got (.*?); expected (.*?); (.*)", re.DOTALL)
_BLOCK = 1024**2
_BROKEN = (httpx2.NetworkError, httpx2.RemoteProtocolError)
_PROXY = {429: "overloaded", 500: "worker_lost", 502: "worker_lost", 503: "overloaded"}
"""What is meant where the proxy before the endpoint answers, as Ray Serve's, in words of its own: its queue is full, or the replica
that had the request died."""
_LEASE = 20.0
"""Seconds until a session is free again that a replica held when it died."""
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 900.0
Video = str | os.PathLike[str]
"""An id, a data URL, an address that the server may fetch, or a local path (a Path, not a text), which is uploaded."""


@dataclass(frozen=True)
class Answered:
    """The end of a stream. session, turn: to go on with; None where nothing is kept. video: its id on the server. written_tokens:
    of the answer; None of a correction, and from a server that does not tell."""

    answer: Answer
    session: str | None
    turn: int
    video: str
    first_token_s: float
    first_mask_s: float | None
    written_tokens: int | None = None


Event = Text | PhraseFound | Seen | Answered


class Client(AbstractContextManager["Client"]):
    """url: of the endpoint. token: if it wants one. patience: seconds to wait and try again while the server is overloaded.
    seconds: of silence after a request. What was lost, with its line or with a replica, is sent once more, but not a job, nor a
    stream of which something was heard. EnvironmentProblem if no server answers, AnswerTooSlow if it is silent; else its errors."""

    def __init__(self, url: str, token: str | None = None, *, patience: float = 0.0, seconds: float = ANSWER_SECONDS) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        limits = httpx2.Timeout(seconds, connect=CONNECT_SECONDS)
        self.url, self.patience, self.seconds = url.rstrip("/"), patience, seconds
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=limits)

    def close(self) -> None:
        self._http.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self) -> bool:
        """Whether a question would be answered now. EnvironmentProblem or AnswerTooSlow if nobody says so within seconds."""
        with self._line(CONNECT_SECONDS):
            return self._http.get("/readyz", timeout=CONNECT_SECONDS).is_success

    def models(self) -> list[str]:
        """Names of the models that are served, the default one first."""
        return [model["id"] for model in self._json("GET", "/v1/models")["data"]]

    def upload(self, path: str | os.PathLike[str]) -> str:
        """The id of a local video or image on the server."""

        def blocks() -> Iterator[bytes]:
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    yield block

        def body() -> dict[str, Any]:
            size = str(os.path.getsize(path))
            return {"content": blocks(), "headers": {"Content-Length": size, "Content-Type": "application/octet-stream"}}

        return str(self._json("POST", "/v1/videos", body)["video"])

    def delete(self, video: str) -> None:
        self._json("DELETE", f"/v1/videos/{video}")

    def end(self, session: str) -> None:
        self._json("DELETE", f"/v1/sessions/{session}")

    def ask(self, video: Video | None = None, question: str = "", **options: Any) -> Answered:
        """The answer to a question. options: as of :meth:`stream`."""
        return _answered(self._json("POST", "/v1/answers", _body(self._asked(video, question, options))))

    def wait(self, video: Video | None = None, question: str = "", **options: Any) -> Answered:
        """As :meth:`ask`, for as long as it takes: it is heard as a stream, in which the server shows that it is at work."""
        for event in self._events("/v1/answers", self._asked(video, question, options), told=False):
            if isinstance(event, Answered):
                return event
        raise _broke_off()

    def stream(self, video: Video | None = None, question: str = "", **options: Any) -> Iterator[Event]:
        """Text, phrases and masks as they are made, last the Answered. Closing it stops the server's work.

        video: see :data:`Video`; None with a session. options: ``session``, ``keep``, ``alone``, ``model``, ``watching``
        (:class:`Watching`), ``writing`` (:class:`Writing`), or the fields of both.
        """
        yield from self._events("/v1/answers", self._asked(video, question, options))

    def correct(self, session: str, turn: int, track: int, position: int, **marks: Any) -> Answered:
        """The answer of a turn with one track corrected. marks: ``points`` [(x, y, 1 or 0)], ``box`` (x0, y0, x1, y1)."""
        body = {"turn": turn, "track": track, "position": position, **marks}
        return _answered(self._json("POST", f"/v1/sessions/{session}/corrections", _body(body)))

    def export(self, session: str, turn: int, file: str) -> bytes:
        """``answer.json``, ``coco.json``, ``overlay.mp4`` or ``overlay.png`` of a turn."""
        return self._call("GET", f"/v1/sessions/{session}/turns/{turn}/{file}").content

    def submit(self, video: Video, question: str, **options: Any) -> str:
        """A job, answered in the background; its id."""
        body = _body(self._asked(video, question, options))
        return str(self._json("POST", "/v1/jobs", body, again=False)["job"])

    def job(self, job: str) -> dict[str, Any]:
        """Status and progress, as the API tells them."""
        found: dict[str, Any] = self._json("GET", f"/v1/jobs/{job}")
        return found

    def result(self, job: str) -> Answered:
        """InUse while it is not done."""
        return _answered(self._json("GET", f"/v1/jobs/{job}/result"))

    def cancel(self, job: str) -> None:
        self._json("DELETE", f"/v1/jobs/{job}")

    def _asked(self, video: Video | None, question: str, options: dict[str, Any]) -> dict[str, Any]:
        named = self.upload(video) if isinstance(video, os.PathLike) else video
        return {"video": named, "question": question, **_options(options)}

    def _json(self, method: str, path: str, body: Callable[[], dict[str, Any]] | None = None, again: bool = True) -> Any:
        response = self._call(method, path, body, again)
        return response.json() if response.content else None

    def _call(
        self, method: str, path: str, body: Callable[[], dict[str, Any]] | None = None, again: bool = True
    ) -> httpx2.Response:
        """body: makes what is sent, again for each try. again: whether it may be done twice if nobody knows that it was done."""
        tries = _Tries(self.patience, again)
        while True:
            try:
                with self._line():
                    response = self._http.request(method, path, **(body or dict)())
                    if response.status_code >= 400:
                        raise error_of(response)
                    return response
            except VglammError as error:
                tries.failed(error)

    def _events(self, path: str, body: dict[str, Any], told: bool = True) -> Iterator[Event]:
        """told: whether somebody is told the events as they come, who must not hear them twice."""
        tries, heard = _Tries(self.patience), False
        while True:
            try:
                sent = _body(body | {"stream": True})()
                with self._line(), self._http.stream("POST", path, **sent) as response:
                    if response.status_code >= 400:
                        response.read()
                        raise error_of(response)
                    for event in httpx2.EventSource(response, max_event_size=None):
                        come, heard = _event(event.event, json.loads(event.data)), told
                        yield come
                    return
            except VglammError as error:
                if heard:
                    raise
                tries.failed(error)

    @contextmanager
    def _line(self, seconds: float | None = None) -> Iterator[None]:
        try:
            yield
        except httpx2.ReadTimeout as error:
            raise AnswerTooSlow(
                f"a request to {self.url} of which nothing was heard for {seconds or self.seconds:g} s",
                "an answer, or a sign that it is made",
                "look at the server's log, or ask for less of the video: fewer frames per second, a limit, a start and an end",
            ) from error
        except httpx2.HTTPError as error:
            raise EnvironmentProblem(
                f"no answer from {self.url} ({type(error).__name__})",
                "an endpoint that runs there",
                "check the address: vglamm serve",
            ) from error


class _Tries:
    """How often a request is sent: once more if its line or the replica at work on it was lost, and again while the server is
    overloaded, as long as there is patience for what it asks to wait."""

    def __init__(self, patience: float, again: bool = True) -> None:
        self.until, self.again = time.monotonic() + patience, again

    def failed(self, error: VglammError) -> None:
        """Raise it, or return when the request is to be sent anew."""
        if isinstance(error, Overloaded):
            if time.monotonic() + error.retry_after > self.until:
                raise error
            time.sleep(error.retry_after)
            return
        broke = isinstance(error.__cause__, _BROKEN) and not isinstance(error.__cause__, httpx2.ConnectError)
        if not self.again or not (broke or isinstance(error, WorkerLost)):
            raise error
        self.again, self.until = False, max(self.until, time.monotonic() + _LEASE)


class Talk:
    """Questions about one local video in turn, asked of a server as of :class:`vglamm.walk.Session`; the video is sent once.

    Closing it leaves nothing on the server, and closes ``client``, as an upload that fails does.
    """

    def __init__(self, client: Client, path: str, watching: Watching, model: str = "") -> None:
        self.client, self.path, self.watching, self.model = client, path, watching, model
        try:
            self.video = client.upload(path)
        except BaseException:
            client.close()
            raise
        self.session: str | None = None

    def close(self) -> None:
        with self.client, contextlib.suppress(ServeError):  # what expired is gone anyway
            if self.session is not None:
                self.client.end(self.session)
            self.client.delete(self.video)

    def ask(self, question: str, *, on_text: Callable[[str], None] | None = None, **writing: Any) -> Answer:
        """As of the session: the answer, whose ``source`` is the local path."""
        told = {"model": self.model, "watching": self.watching} if self.session is None else {"session": self.session}
        video = self.video if self.session is None else None
        for event in self.client.stream(video, question, writing=Writing(**writing), **told):
            if isinstance(event, Text) and on_text is not None:
                on_text(event.piece)
            elif isinstance(event, Answered):
                self.session = event.session
                return replace(event.answer, source=self.path)
        raise _broke_off()


def _broke_off() -> ServeError:
    return ServeError("a stream that broke off", "an answer", "ask again")


def error_of(response: httpx2.Response) -> VglammError:
    """The error that a response tells, as the class that the server raised."""
    after = response.headers.get("retry-after", "")
    try:
        told = dict(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        told = {"code": _PROXY.get(response.status_code, ""), "message": f"status {response.status_code} from before the endpoint"}
    return _error(told, float(after) if after.isdecimal() else 1.0)


def _error(told: dict[str, Any], after: float = 1.0) -> VglammError:
    parts = _MESSAGE.fullmatch(told["message"])
    number = told.get("request_id", "")
    three = parts.groups() if parts else (told["message"], "a request that succeeds", f"the server's log tells more under {number}")
    kind = _KINDS.get(told["code"], ServeError)
    return kind(*three, after) if issubclass(kind, Overloaded) else kind(*three)


def _kinds() -> dict[str, type[VglammError]]:
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, VglammError)]
    return {code_of(kind): kind for kind in named}


_KINDS = _kinds()


def _event(name: str, data: dict[str, Any]) -> Event:
    match name:
        case "text":
            return Text(data["piece"])
        case "phrase":
            return PhraseFound(data["track"], data["text"])
        case "masks":
            return Seen(data["position"], data["time"], tuple(_sight(one) for one in data["sights"]))
        case "answer":
            return _answered(data)
        case "error":
            raise _error(data["error"])
    raise ServeError(f"an event {name!r}", "text, phrase, masks, answer or error", "use the client of the server's release")


def _sight(one: dict[str, Any]) -> Sight:
    return Sight(one["rle"], None if one["box"] is None else tuple(one["box"]), one["score"])


def _answered(body: dict[str, Any]) -> Answered:
    return Answered(**(body | {"answer": Answer.from_json(json.dumps(body["answer"]))}))


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request: options, and those of ``watching`` and ``writing``; what is None is left out."""
    given = dict(given)
    watching, writing = given.pop("watching", None), given.pop("writing", None)
    flat = {**(asdict(watching) if watching else {}), **(asdict(writing) if writing else {}), **given}
    return {name: value for name, value in flat.items() if value is not None}


def _body(fields: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"json": {name: value for name, value in fields.items() if value is not None}}
