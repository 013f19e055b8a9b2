"""What all routes share, made once for each application."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from starlette.requests import Request

from serve.contract import Ask, Backend, Turns, Watching
from serve.http.fetch import Fetcher
from serve.http.uploads import Brought, Intake
from serve.schema import Options, Question
from serve.settings import Settings
from serve.store.jobs import Jobs
from serve.store.sessions import Session, Sessions
from serve.store.spool import Spool
from serve.store.videos import Videos, path_of
from vglamm.errors import RequestRefused, VglammError

log = logging.getLogger(__name__)

SOURCE = "upload"
"""What answers say of where their video came from: clients know it by its id."""
_SWEEP = 60.0


@dataclass(frozen=True)
class Desk:
    """The parts of the HTTP side."""

    backend: Backend
    settings: Settings
    spool: Spool
    videos: Videos
    sessions: Sessions
    jobs: Jobs
    intake: Intake

    @staticmethod
    def of(backend: Backend, settings: Settings) -> Desk:
        spool = Spool(settings.spool, settings.kept.bytes)
        videos = Videos(backend, spool, settings)
        sessions = Sessions(backend, spool, videos, settings)
        fetcher = Fetcher(settings.fetching, settings.taken.media.bytes)
        jobs = Jobs(backend, spool, videos, settings)
        return Desk(backend, settings, spool, videos, sessions, jobs, Intake(videos, fetcher))

    async def video(self, reference: str | None, brought: Brought) -> str:
        """The video of a request. One that comes with it by this reference is added to what it brought."""
        if (reference is None) == (brought.video is None):
            got = "no video" if reference is None else "a video and a file"
            raise RequestRefused(got, "one of them", "send a file, or name a video")
        if reference is None:
            assert brought.video is not None, "one of both"
            return brought.video
        video, new = await self.intake.named(reference)
        brought.video = video if new else None
        return video

    async def asked(self, question: Question, brought: Brought, request: Request) -> tuple[Session | None, Ask, str]:
        """The session of a question, what to ask, and the video."""
        self.check_question(question.question)
        if question.session is None:
            video = await self.video(question.video, brought)
            ask = self.ask(question, question.question, video, request)
            return (await self.sessions.begin(video, ask) if question.keep else None), ask, video
        session = await self.sessions.load(question.session)
        if brought.video is not None or question.video not in (None, session.video):
            raise RequestRefused("a session and another video", "one of them", "leave the video out")
        if question.model not in ("", session.model):
            raise RequestRefused("a session and another model", "the session's", "leave the model out")
        if question.watching.sampling not in (Watching().sampling, session.watched.sampling):
            raise RequestRefused("a session and other frames", "the session's", "leave fps, every_frame, limit, start and end out")
        watching = replace(session.watched, mode=question.mode or session.watched.mode)
        ask = self.ask(question, question.question, session.video, request)
        return session, replace(ask, sampling=watching, model=session.model), session.video

    def ask(self, options: Options, question: str, video: str, request: Request) -> Ask:
        return Ask(
            path_of(video),
            question,
            options.watching,
            options.writing,
            model=options.model,
            source=SOURCE,
            request_id=request.state.request_id,
        )

    def check_question(self, question: str) -> None:
        if len(question) > self.settings.taken.question:
            raise RequestRefused(
                f"a question of {len(question)} characters", f"at most {self.settings.taken.question}", "ask more briefly"
            )

    def check_history(self, history: Turns) -> None:
        """A client that tells the earlier turns itself tells no more than a session's questions may hold."""
        most, length = self.settings.kept.turns * self.settings.taken.question, sum(len(text) for turn in history for text in turn)
        if length > most:
            raise RequestRefused(f"earlier messages of {length} characters", f"at most {most} together", "leave the oldest out")

    async def sweep(self) -> None:
        """Drop what expired, for ever."""
        while True:
            try:
                await self.jobs.expire()
                await self.sessions.expire()
                await self.videos.expire()
            except (OSError, ValueError, VglammError):  # the spool, a record in it, or the backend; the next round may go better
                log.exception("what expired was not dropped")
            await asyncio.sleep(min(_SWEEP, self.settings.kept.seconds / 4))
