"""Questions of many clients, answered together: a thread that drives a flight, and streams that hear of it."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from vglamm.errors import CheckpointError, VglammError, WorkerLost
from vglamm.records import Reply
from vglamm.steps.language import Asked, Event, Flight, LanguageStep, Prompt

log = logging.getLogger(__name__)


@dataclass
class _Ticket:
    """A question on its way. left: nobody listens any more."""

    asked: Asked
    options: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    news: asyncio.Queue[Event | BaseException] = field(default_factory=asyncio.Queue)
    left: bool = False
    prompt: Prompt | None = None

    def tell(self, *news: Event | BaseException) -> None:
        for one in news:
            self.loop.call_soon_threadsafe(self.news.put_nowait, one)


class _End(Enum):
    """When the thread ends: before the next step, or with the last answer."""

    NOW = auto()
    ANSWERED = auto()


class Engine:
    """rows: answers that are written together at most. tokens: positions that they may come to need together at most; one answer
    may always be written. Between two steps one question is read at most, so that answers go on while questions come."""

    def __init__(self, step: LanguageStep, rows: int, tokens: int) -> None:
        self.step, self.rows, self.tokens = step, rows, tokens
        self._inbox: queue.SimpleQueue[_Ticket | _End] = queue.SimpleQueue()
        self._waiting: deque[_Ticket] = deque()
        self._riding: dict[int, _Ticket] = {}
        self._draining = self._ended = False
        self.thread = threading.Thread(target=self._run, name="language", daemon=True)
        self.thread.start()

    async def ask(self, asked: Asked, **options: Any) -> AsyncGenerator[Event, None]:
        """Events as of :meth:`vglamm.steps.language.LanguageStep.stream`; closing this stops the writing before its next step."""
        async with aclosing(self.pieces(asked, **options)) as pieces:
            async for events in pieces:
                for event in events:
                    yield event

    async def pieces(self, asked: Asked, **options: Any) -> AsyncGenerator[list[Event], None]:
        """The same, all that came while nobody listened in one piece: who sends each piece on falls behind no further than that."""
        ticket = _Ticket(asked, options, asyncio.get_running_loop())
        self._inbox.put(ticket)
        if self._ended:  # else the thread, which looks once more into its inbox when it has said so, finds the ticket
            raise WorkerLost("a language engine that has ended", "one that runs", "ask again")
        try:
            while True:
                came = [await ticket.news.get()]
                while not ticket.news.empty():
                    came.append(ticket.news.get_nowait())
                events = [news for news in came if not isinstance(news, BaseException)]
                if events:
                    yield events
                if len(events) < len(came):
                    raise next(news for news in came if isinstance(news, BaseException))
                if isinstance(events[-1], Reply):
                    return
        finally:
            ticket.left = True

    def close(self) -> None:
        """End the thread; questions that are not answered yet fail."""
        self._inbox.put(_End.NOW)
        self.thread.join()

    def drain(self) -> None:
        """End the thread when nobody rides or waits any more, and return then."""
        self._inbox.put(_End.ANSWERED)
        self.thread.join()

    def _run(self) -> None:
        try:
            flight = self.step.flight()
            while self._collect():
                try:
                    self._drop_left(flight)
                    self._admit(flight)
                    for key, events in flight.advance().items():
                        self._tell(key, events)
                except Exception as error:  # what it left of the flight nobody knows: those who wait get another
                    riding, self._riding, flight = self._riding, {}, self.step.flight()
                    for ticket in riding.values():
                        ticket.tell(_told(error))
        finally:
            lost = WorkerLost("a language engine that ended", "one that runs until its replica ends", "ask again")
            self._ended = True
            while not self._inbox.empty():
                if isinstance(left := self._inbox.get(), _Ticket):
                    self._waiting.append(left)
            for ticket in (*self._riding.values(), *self._waiting):
                ticket.tell(lost)

    def _collect(self) -> bool:
        """Take what came in, waiting if there is nothing else to do; False when it is time to end."""
        while True:
            idle = not self._riding and not self._waiting
            try:
                came = self._inbox.get(block=idle and not self._draining)
            except queue.Empty:
                return not idle
            match came:
                case _End.NOW:
                    return False
                case _End.ANSWERED:
                    self._draining = True
                case _:
                    self._waiting.append(came)

    def _drop_left(self, flight: Flight) -> None:
        for key in [key for key, ticket in self._riding.items() if ticket.left]:
            flight.leave(key)
            del self._riding[key]

    def _admit(self, flight: Flight) -> None:
        """Let the question that has waited longest join, if there is room."""
        while self._waiting and len(flight) < self.rows:
            ticket = self._waiting[0]
            if ticket.left:
                self._waiting.popleft()
                continue
            try:
                ticket.prompt = ticket.prompt or self.step.prepare(ticket.asked, **ticket.options)
                if len(flight) and flight.tokens + ticket.prompt.tokens > self.tokens:
                    return
                key, events = flight.join(ticket.prompt)
            except Exception as error:  # of this question alone
                self._waiting.popleft()
                ticket.tell(_told(error))
                continue
            self._riding[key] = self._waiting.popleft()
            self._tell(key, events)
            return

    def _tell(self, key: int, events: list[Event]) -> None:
        ticket = self._riding[key]
        ticket.tell(*events)
        if events and isinstance(events[-1], Reply | CheckpointError):
            del self._riding[key]


def _told(error: Exception) -> VglammError:
    """The error for who asked; of a bug, or a machine that fails, the log has the traceback."""
    if isinstance(error, VglammError):
        return error
    log.error("an answer broke off", exc_info=error)
    return WorkerLost(f"an answer that broke off ({type(error).__name__})", "one that is written to its end", "ask again")
