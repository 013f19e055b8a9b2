"""Events and answers on the wire: JSON, and server-sent events (``event:`` a name, ``data:`` JSON)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import Any

from serve.attend import ClientLeft
from serve.contract import Done, PhraseFound, Seen, Text
from serve.errors import INTERNAL, Told, told
from vglamm.errors import VglammError
from vglamm.records import Sight

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turned:
    """The end of a stream for a client: what the backend said last, and where it is kept. session: None if it is not."""

    done: Done
    session: str | None
    turn: int
    video: str

    def json(self) -> str:
        """The body of a response, and the data of the last event."""
        rest = {
            "session": self.session,
            "turn": self.turn,
            "video": self.video,
            "first_token_s": self.done.first_token_s,
            "first_mask_s": self.done.first_mask_s,
            "written_tokens": self.done.written_tokens,
        }
        return f'{{"answer":{self.done.answer.to_json()},{json.dumps(rest)[1:]}'


Wired = Text | PhraseFound | Seen | Turned


def sse(event: Wired) -> bytes:
    """One event of a stream."""
    match event:
        case Text(piece):
            return framed("text", json.dumps({"piece": piece}))
        case PhraseFound(track, text):
            return framed("phrase", json.dumps({"track": track, "text": text}))
        case Seen(position, time, sights):
            return framed("masks", json.dumps({"position": position, "time": time, "sights": [sight(one) for one in sights]}))
        case Turned():
            return framed("answer", event.json())


def sight(one: Sight) -> dict[str, Any]:
    return asdict(one)


def failure(error: Told, request_id: str) -> bytes:
    """The last event of a stream that fails."""
    return framed("error", json.dumps(error.tree(request_id)))


def framed(name: str, data: str) -> bytes:
    """JSON has no line breaks of its own, so one ``data:`` line holds it."""
    return f"event: {name}\ndata: {data}\n\n".encode()


async def told_in_stream(events: AsyncGenerator[Wired, None], request_id: str) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream; an error in the middle, when the status is sent already, is its last event."""
    try:
        async for event in events:
            yield sse(event)
    except VglammError as error:
        log.info("%s: %s", request_id, error)
        yield failure(told(error), request_id)
    except ClientLeft:
        raise
    except Exception:
        yield failure(INTERNAL, request_id)
        raise
    finally:
        await events.aclose()
