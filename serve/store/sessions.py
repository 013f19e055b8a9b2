"""Sessions: the turns about one video, kept in the spool so that any replica goes on where another was lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from serve.contract import Ask, Backend, Correct, Done, Turns, Watching, Writing
from serve.events import Turned, Wired
from serve.settings import Settings
from serve.store.lease import Lease
from serve.store.spool import SESSIONS, Spool, new
from serve.store.videos import Videos, path_of
from vglamm.answer import Answer
from vglamm.errors import NotKept, RequestRefused, SessionGone

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """What is kept of a session. turns: of each its question, raw answer, text, how it was written and made, and how often it was
    corrected. place: who keeps its visual tokens, as the backend said."""

    name: str
    video: str
    source: str
    model: str
    watching: dict[str, Any]
    turns: tuple[dict[str, Any], ...] = ()
    place: str = ""

    @property
    def history(self) -> Turns:
        return tuple((turn["question"], turn["raw"]) for turn in self.turns if not turn["alone"])

    @property
    def watched(self) -> Watching:
        return Watching(**self.watching)

    def ask(self, number: int) -> Ask:
        """The question of a turn that was answered."""
        turn = self.turns[number]
        before = replace(self, turns=self.turns[:number])
        watching = replace(self.watched, mode=turn["mode"])
        history = () if turn["alone"] else before.history
        return Ask(
            path_of(self.video), turn["question"], watching, Writing(**turn["writing"]), self.name, history, self.model, self.source
        )

    def tree(self) -> dict[str, Any]:
        """What a client hears of it."""
        turns = [
            {"turn": number, **{name: turn[name] for name in ("question", "text", "corrected")}}
            for number, turn in enumerate(self.turns)
        ]
        return {"session": self.name, "video": self.video, "model": self.model, "turns": turns}


class Sessions:
    """Answers questions, in sessions and without. Calls touch files in threads."""

    def __init__(self, backend: Backend, spool: Spool, videos: Videos, settings: Settings) -> None:
        self.backend, self.spool, self.videos, self.settings = backend, spool, videos, settings

    async def begin(self, video: str, ask: Ask) -> Session:
        """A new session about a video. The oldest one goes if there are too many."""
        names = await asyncio.to_thread(self.spool.names, SESSIONS)
        for _, oldest in names[: max(0, len(names) + 1 - self.settings.kept.sessions)]:
            await self.end(oldest)
        return Session(new(SESSIONS), video, ask.source, ask.model, asdict(ask.sampling))

    async def load(self, name: str) -> Session:
        """What is kept of a session, which counts as using it. SessionGone if it or its video is no longer there."""
        record = await asyncio.to_thread(self.spool.find, SESSIONS, name)
        if record is None:
            raise SessionGone(f"session {name}", "one that is kept", "it expired or never was: ask with the video again")
        session = _session(record)
        try:
            await self.videos.facts(session.video)
        except NotKept as error:
            raise SessionGone(f"session {name}, whose video expired", "a session with its video", "upload it again") from error
        await asyncio.to_thread(self.spool.touch, SESSIONS, name)
        return session

    async def answer(self, session: Session, turn: int) -> Answer:
        """NotKept if there is no such turn."""
        if not 0 <= turn < len(session.turns):
            raise NotKept(f"turn {turn}", f"one of {len(session.turns)}, from 0", "look at the session")
        return Answer.from_json(json.dumps(await asyncio.to_thread(self.spool.read, SESSIONS, session.name, str(turn))))

    async def end(self, name: str) -> None:
        await self.backend.forget(name, await asyncio.to_thread(self._place, name))
        await asyncio.to_thread(self.spool.delete, SESSIONS, name)

    async def ask(self, session: Session | None, ask: Ask, video: str, alone: bool = False) -> AsyncGenerator[Wired, None]:
        """The events of one question, the last one a :class:`Turned`. session: None keeps nothing. alone: earlier turns are not
        told to the model."""
        if session is None:
            async with aclosing(self.videos.used(video, self.backend.stream(ask))) as events:
                async for event in events:
                    yield Turned(event, None, 0, video) if isinstance(event, Done) else event
            return
        lease = self._lease(session.name)
        async with lease.held() as lost:
            session = await self._latest(session)
            if len(session.turns) >= self.settings.kept.turns:
                raise RequestRefused(f"a session of {len(session.turns)} turns", "fewer", "begin another one")
            ask = replace(ask, session=session.name, place=session.place, history=() if alone else session.history)
            try:
                stream = self.videos.used(video, self.backend.stream(ask))
                async with aclosing(lease.keeping(stream, lost)) as events:
                    async for event in events:
                        if isinstance(event, Done):
                            await lease.check()
                            number = len(session.turns)
                            turns = (*session.turns, _turn(ask, event.answer, alone))
                            session = replace(session, turns=turns, place=event.place)
                            await self._keep(session, number, event.answer)
                            yield Turned(event, session.name, number, video)
                        else:
                            yield event
            finally:
                if not session.turns:  # the first turn has no end: nobody was told the name
                    await self.backend.forget(session.name)

    async def correct(self, session: Session, turn: int, correction: Correct) -> AsyncGenerator[Wired, None]:
        """The events of a correction; the corrected answer takes the place of the turn's."""
        lease = self._lease(session.name)
        async with lease.held() as lost:
            session = await self._latest(session)
            correction = replace(correction, answer=await self.answer(session, turn))
            stream = self.videos.used(session.video, self.backend.correct(correction))
            async with aclosing(lease.keeping(stream, lost)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        await lease.check()
                        changed = session.turns[turn] | {"corrected": session.turns[turn]["corrected"] + 1}
                        session = replace(session, turns=(*session.turns[:turn], changed, *session.turns[turn + 1 :]))
                        await self._keep(session, turn, event.answer)
                        yield Turned(event, session.name, turn, session.video)
                    else:
                        yield event

    async def expire(self) -> None:
        """End what nobody has used for ``kept.seconds``."""
        before = time.time() - self.settings.kept.seconds
        for at, name in await asyncio.to_thread(self.spool.names, SESSIONS):
            if at < before:
                log.info("%s expired", name)
                await self.end(name)

    async def _keep(self, session: Session, turn: int, answer: Answer) -> None:
        """The answer first: a session never names a turn that is not there."""
        await asyncio.to_thread(self.spool.write, SESSIONS, session.name, json.loads(answer.to_json()), str(turn))
        await asyncio.to_thread(self.spool.write, SESSIONS, session.name, asdict(session))

    async def _latest(self, session: Session) -> Session:
        """As it is now that nobody else writes it; a new one as it is."""
        record = await asyncio.to_thread(self.spool.find, SESSIONS, session.name)
        return session if record is None else _session(record)

    def _place(self, name: str) -> str:
        """Of a session's tokens. A record that cannot be read, or is of another version, must go all the same."""
        with contextlib.suppress(ValueError):
            return str((self.spool.find(SESSIONS, name) or {}).get("place", ""))
        return ""

    def _lease(self, name: str) -> Lease:
        return Lease(self.spool, SESSIONS, name, self.settings.kept.lease_seconds)


def _session(record: dict[str, Any]) -> Session:
    """Fields that a later version added are left out: in a rolling update both versions read each other's sessions."""
    known = {field.name: record[field.name] for field in fields(Session) if field.name in record}
    return Session(**(known | {"turns": tuple(record["turns"])}))


def _turn(ask: Ask, answer: Answer, alone: bool) -> dict[str, Any]:
    told = {"question": ask.question, "raw": answer.raw, "text": answer.text, "alone": alone, "corrected": 0}
    return told | {"writing": asdict(ask.writing), "mode": ask.sampling.mode}
