"""CLAIR: a language model judges, 0 to 100, whether a caption describes the same video as the reference.

After Chan et al., "CLAIR: Evaluating Image Captions with Large Language Models" (EMNLP 2023), in our wording and asked of a video.
Any server with the OpenAI chat API will do. A score depends on the judge, so a report names it; numbers of two judges cannot be
compared, nor ours with those of the paper, whose judge was gpt-3.5-turbo at temperature .5.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from vglamm.errors import ConfigError, EnvironmentProblem

_log = logging.getLogger(__name__)

_QUESTION = """\
Here are two descriptions of a video. How sure are you, from 0 (not at all) to 100 (certain), that both describe the same video?

Description to be judged: {caption}

Reference description: {reference}

Answer with one JSON object: {{"score": a number from 0 to 100, "reason": one short sentence}}."""
_TRIES_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
_ANSWER_BYTES = 1 << 20
_PATIENCE = 5
_TEXT = 2000  # characters of a description that are sent, as in the published scorer


@dataclass(frozen=True)
class Judgement:
    """scores: 0..100 for each pair, None where the judge gave none in the tries it had. errors: how many those are."""

    scores: tuple[float | None, ...]

    @property
    def errors(self) -> int:
        return sum(score is None for score in self.scores)


@dataclass(frozen=True)
class Clair:
    """A judge behind an endpoint.

    url: base of an OpenAI-compatible API, such as ``http://localhost:8000/v1``. model: its name there. key: bearer token, or None;
    never shown. tries: requests for one pair. pause: seconds before the second try, doubled for each one after. timeout: seconds
    for one request. ConfigError for a url that is not http or https, or without a host.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    tries: int = 3
    pause: float = 1.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or self.tries < 1:
            raise ConfigError(
                f"a judge at {parts.scheme}://{parts.hostname} with {self.tries} tries",
                "an http or https URL without a password, 1 or more tries",
                "use the base of an OpenAI-compatible API and give the key apart",
            )

    @property
    def name(self) -> str:
        return f"CLAIR by {self.model}, temperature 0"

    def judge(self, references: Sequence[str], captions: Sequence[str]) -> Judgement:
        """Scores of pairs, one after the other. EnvironmentProblem if the server refuses (a wrong key, model or address), or has
        no score for any of the first five pairs."""
        scores: list[float | None] = []
        for truth, said in zip(references, captions, strict=True):
            scores.append(self._score(truth, said))
            if len(scores) == _PATIENCE and not any(score is not None for score in scores):
                raise EnvironmentProblem(f"no score for {_PATIENCE} pairs", "a judge that answers in JSON", "see the log")
        return Judgement(tuple(scores))

    def _score(self, reference: str, caption: str) -> float | None:
        text = _QUESTION.format(caption=json.dumps(caption[:_TEXT]), reference=json.dumps(reference[:_TEXT]))
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return parse_score(self._ask(text))
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _TRIES_AGAIN:
                    raise EnvironmentProblem(
                        f"HTTP {error.code} from the judge", "a chat completion", "check url, model and key"
                    ) from error
                _log.warning("judge: HTTP %d, try %d of %d", error.code, attempt + 1, self.tries)
            except (OSError, ValueError, HTTPException) as error:  # no connection, a time-out, or no score in what it said
                _log.warning("judge: %s, try %d of %d", type(error).__name__, attempt + 1, self.tries)
        return None

    def _ask(self, text: str) -> str:
        """What the judge says. OSError or ValueError if nothing can be read."""
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 200}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", data=json.dumps(body).encode(), headers=headers, method="POST"
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as reply:
            said = json.loads(reply.read(_ANSWER_BYTES))
        match said:
            case {"choices": [{"message": {"content": str(content)}}, *_]}:
                return content
        raise ValueError("a reply without choices[0].message.content")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not travel to wherever a server points."""

    def redirect_request(self, *_: Any) -> None:
        return None


def parse_score(said: str) -> float:
    """The score in the JSON object that ``said`` holds, text before and after it allowed. ValueError without a number 0..100 in it.

    Unlike the published parser it takes no number from outside the object and does not guess that .8 means 80.
    """
    found, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
    score = found.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 100:
        raise ValueError(f"score {score!r}")
    return float(score)
