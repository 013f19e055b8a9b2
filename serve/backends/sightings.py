"""Where the visual tokens of a session are: known here by a reference, kept by a vision replica, or nowhere."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

from ray.serve.handle import DeploymentHandle, DeploymentResponse

from serve.backends.failures import LOST, RAISED
from serve.backends.kept import Bounds, Kept
from serve.backends.masks import Handles
from serve.backends.wire import Film, Header
from serve.contract import Ask
from serve.profile import Profile

PATIENCE = 1.0
"""Seconds that who ends a session waits for vision to forget it."""


@dataclass(frozen=True)
class Tokens:
    """watched: what language is given, for which ``pending`` is at work. fresh: the video is seen now."""

    watched: Any
    pending: list[DeploymentResponse] = field(default_factory=list)
    fresh: bool = False


class Sightings:
    """Of sessions that this ingress answered in, references. Where it is one of several, the vision replica that saw the video
    keeps the tokens too, and the session says which (:attr:`serve.contract.Done.place`), so that another ingress finds them."""

    def __init__(self, profile: Profile) -> None:
        self.kept: Kept[tuple[Film, str, Any, str]] = Kept(Bounds(profile.sessions, profile.session_bytes, profile.session_seconds))
        self._leaving: set[asyncio.Future[None]] = set()
        # What may scale to nothing keeps nothing: to ask it, or to let it forget, would bring it back.
        self.shared = profile.ingress.replicas[1] > 1 and profile.vision.replicas[0] > 0

    async def tokens(self, ask: Ask, film: Film, model: str, handles: Handles, *, again: bool) -> Tokens:
        """Tokens of a film for a question. again: a replica was lost, and with it perhaps what is kept."""
        seen = _seen(film)
        if again and ask.session is not None:
            self.kept.drop(ask.session)
        kept = self.kept.get(ask.session)
        if kept is not None and kept[:2] == (seen, model):
            return Tokens(kept[2])
        keeping = (ask.session, seen) if self.shared and ask.session is not None else ()
        if keeping and ask.place and not again:
            there = handles.vision.options(session_id=ask.place)
            with contextlib.suppress(*LOST):  # then nobody has them any more
                if await there.holds.remote(*keeping):
                    recalled = there.recall.remote(*keeping)
                    return Tokens(recalled, [recalled])
        look = handles.decode.look.remote(film)
        watched = handles.vision.see.remote(look, *keeping)
        return Tokens(watched, [look, watched], fresh=True)

    async def keep(self, session: str | None, film: Film, model: str, tokens: Tokens, header: Header) -> None:
        """Remember tokens that came."""
        if tokens.pending and session is not None:
            reference = await tokens.watched._to_object_ref()
            self.kept.put(session, (_seen(film), model, reference, header.place), header.bytes)

    async def forget(self, session: str, place: str, handles: Handles) -> None:
        """place: of the session's tokens, "" if there is none or only the reference here knows it."""
        kept = self.kept.get(session)
        self.kept.drop(session)
        place = place or (kept[3] if kept else "")
        if place and self.shared:
            task = asyncio.ensure_future(_forgotten(handles.vision.options(session_id=place), session))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            await asyncio.wait({task}, timeout=PATIENCE)  # neither a busy vision nor a client that leaves may hold it up


async def _forgotten(vision: DeploymentHandle, session: str) -> None:
    with contextlib.suppress(*RAISED):  # a replica that is gone keeps nothing
        await vision.forget.remote(session)


def _seen(film: Film) -> Film:
    """How masks are made plays no part in what is seen."""
    return replace(film, watching=replace(film.watching, mode="video"))
