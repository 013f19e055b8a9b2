"""Where the visual tokens of a session are: known here by a reference, kept by a vision replica, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ray.serve.handle import DeploymentResponse

from serve.kept import Bounds, Kept
from serve.masks import Handles
from serve.profile import Profile
from serve.wire import Film


@dataclass(frozen=True)
class Tokens:
    """watched: what language is given, for which ``pending`` is at work. fresh: the video is seen now."""

    watched: Any
    pending: list[DeploymentResponse] = field(default_factory=list)
    fresh: bool = False


class Sightings:
    """Of sessions that this ingress answered in, references; where it is one of several, vision keeps the tokens too, at the
    replica that a session's name leads to (:mod:`serve.sticky`), so that another ingress finds them."""

    def __init__(self, profile: Profile) -> None:
        self.kept: Kept[tuple[Film, str, Any]] = Kept(Bounds(profile.sessions, profile.session_bytes, profile.session_seconds))
        self.shared = profile.ingress.replicas[1] > 1

    async def tokens(self, session: str | None, film: Film, model: str, handles: Handles, *, again: bool) -> Tokens:
        """Tokens of a film for a session. again: a replica was lost, and with it perhaps what is kept."""
        film = _seen(film)
        if again and session is not None:
            self.kept.drop(session)
        kept = self.kept.get(session)
        if kept is not None and kept[:2] == (film, model):
            return Tokens(kept[2])
        vision, keeping = handles.vision, ()
        if self.shared and session is not None:
            vision, keeping = vision.options(session_id=session), (session, film)
            if not again and await vision.holds.remote(*keeping):
                recalled = vision.recall.remote(*keeping)
                return Tokens(recalled, [recalled])
        look = handles.decode.look.remote(film)
        watched = vision.see.remote(look, *keeping)
        return Tokens(watched, [look, watched], fresh=True)

    async def keep(self, session: str | None, film: Film, model: str, tokens: Tokens, size: int) -> None:
        """Remember tokens that came, of ``size`` bytes."""
        if tokens.pending and session is not None:
            self.kept.put(session, (_seen(film), model, await tokens.watched._to_object_ref()), size)


def _seen(film: Film) -> Film:
    """How masks are made plays no part in what is seen."""
    return replace(film, watching=replace(film.watching, mode="video"))
