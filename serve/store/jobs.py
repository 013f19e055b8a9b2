"""Jobs: questions answered in the background. They are records of the spool, so they outlive the replica that works on them: when
its lease ends, another one takes the job up and begins it again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from serve.contract import Ask, Backend, Done, Seen, Text, Watching, Writing
from serve.errors import told
from serve.events import Turned
from serve.settings import Settings
from serve.store.lease import Lease
from serve.store.spool import JOBS, Spool, new
from serve.store.videos import Videos
from vglamm.errors import InUse, NotKept, Overloaded, VglammError, WorkerLost

log = logging.getLogger(__name__)

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
CANCEL, RESULT = "cancel", "result"
_NOTE = 0.5
"""Seconds between two looks at whether a job was cancelled, and two notes of its progress."""


class Jobs:
    """Takes jobs in, tells of them, and works on them: :meth:`work`, in every replica. Calls touch files in threads."""

    def __init__(self, backend: Backend, spool: Spool, videos: Videos, settings: Settings) -> None:
        self.backend, self.spool, self.videos, self.kept = backend, spool, videos, settings.kept
        self._news = asyncio.Event()
        self._running: dict[str, asyncio.Event] = {}

    async def add(self, video: str, ask: Ask) -> dict[str, Any]:
        """A new job. Overloaded if there are too many that have not ended."""
        waiting = sum(record["status"] not in ENDED for record in await self.all())
        if waiting >= self.kept.jobs:
            raise Overloaded(f"{waiting} jobs that wait", f"fewer than {self.kept.jobs}", "come again later", 60.0)
        record = {
            "job": new(JOBS),
            "status": QUEUED,
            "created": time.time(),
            "attempts": 0,
            "video": video,
            "ask": asdict(ask),
            "progress": {"text": "", "frames": 0, "share": 0.0},
            "error": None,
        }
        await self._write(record)
        self._news.set()
        return record

    async def all(self) -> list[dict[str, Any]]:
        """The oldest first."""
        names = await asyncio.to_thread(self.spool.names, JOBS)
        records = [await asyncio.to_thread(self.spool.find, JOBS, name) for _, name in names]
        return sorted((record for record in records if record is not None), key=lambda record: record["created"])

    async def get(self, name: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.spool.read, JOBS, name)

    async def result(self, name: str) -> dict[str, Any]:
        """The answer of a job. InUse while there is none yet, NotKept if there will be none."""
        record = await self.get(name)
        if record["status"] not in ENDED:
            raise InUse(f"job {name}, which is {record['status']}", "one that is done", "ask again", 1.0)
        if record["status"] != DONE:
            raise NotKept(f"the result of a job that is {record['status']}", "one that is done", "see its error")
        return await asyncio.to_thread(self.spool.read, JOBS, name, RESULT)

    async def cancel(self, name: str) -> None:
        """Stop a job, here within one frame or token, in another replica soon after; drop one that has ended."""
        record = await self.get(name)
        if record["status"] in ENDED:
            await asyncio.to_thread(self.spool.delete, JOBS, name)
            return
        await asyncio.to_thread(self.spool.write, JOBS, name, {}, CANCEL)
        if name in self._running:
            self._running[name].set()
        elif await asyncio.to_thread(self._lease(name).free):
            await self._write(record | {"status": CANCELLED})

    async def expire(self) -> None:
        """Drop what ended ``kept.seconds`` ago. What waits or is at work stays however long that takes, and so does its video."""
        before = time.time() - self.kept.seconds
        for at, name in await asyncio.to_thread(self.spool.names, JOBS):
            record = await asyncio.to_thread(self.spool.find, JOBS, name)
            if record is not None and record["status"] not in ENDED:
                with contextlib.suppress(NotKept):  # deleted meanwhile: the job will say so
                    await self.videos.facts(record["video"])
            elif at < before:
                log.info("%s expired", name)
                await asyncio.to_thread(self.spool.delete, JOBS, name)

    async def work(self) -> None:
        """Do jobs, ``kept.at_once`` of them, for ever."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self.kept.at_once):
                workers.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            self._news.clear()
            try:
                for record in await self.all():
                    if _is_due(record) and record["job"] not in self._running:
                        await self._take(record["job"])
            except (OSError, ValueError, VglammError):  # the spool, or a record in it; the next round may go better
                log.exception("jobs were not done")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self.kept.lease_seconds / 2)

    async def _take(self, name: str) -> None:
        """Do a job unless somebody else does."""
        try:
            async with self._lease(name).held() as lost:
                record = await asyncio.to_thread(self.spool.find, JOBS, name)
                if record is None or not _is_due(record) or await self._is_cancelled(record):
                    return
                self._running[name] = stop = asyncio.Event()
                try:
                    await self._do(record, stop, lost)
                finally:
                    del self._running[name]
        except InUse:
            log.debug("%s is done elsewhere", name)

    async def _do(self, record: dict[str, Any], stop: asyncio.Event, lost: asyncio.Event) -> None:
        name = record["job"]
        if record["attempts"] >= self.kept.attempts:
            error = WorkerLost(f"a job whose replica was lost {record['attempts']} times", "one that ends", "ask for less")
            await self._write(record | {"status": FAILED, "error": told(error).tree(name)["error"]})
            return
        record |= {"status": RUNNING, "attempts": record["attempts"] + 1}
        await self._write(record)
        working = asyncio.create_task(self._answer(record))
        watching = asyncio.create_task(self._stopped(name, stop, lost))
        try:
            try:
                await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (working, watching):
                    task.cancel()
                await asyncio.wait({working, watching})
        except asyncio.CancelledError:  # this replica ends, as in an update: another one takes the job up, which did no harm
            await asyncio.shield(self._write(record | {"status": QUEUED, "attempts": record["attempts"] - 1}))
            raise
        if working.cancelled():
            if not lost.is_set():  # else it is somebody else's now
                await self._write(record | {"status": CANCELLED})
            return
        await self._end(record, working)

    async def _end(self, record: dict[str, Any], working: asyncio.Task[Turned]) -> None:
        name, error = record["job"], working.exception()
        if isinstance(error, Overloaded | WorkerLost) and await self._put_off(record, error):
            return
        if error is not None:
            log.warning("%s failed", name, exc_info=None if isinstance(error, VglammError) else error)
            await self._write(record | {"status": FAILED, "error": told(error).tree(name)["error"]})
            return
        turned = working.result()
        await asyncio.to_thread(self.spool.write, JOBS, name, json.loads(turned.json()), RESULT)
        record["progress"]["share"] = 1.0
        await self._write(record | {"status": DONE})

    async def _put_off(self, record: dict[str, Any], error: Overloaded | WorkerLost) -> bool:
        """Leave a job to whoever takes it first when it is due again; False if it was tried long or often enough. A full queue is
        no attempt, but from the first one on it is tried for ``kept.seconds`` only."""
        now = time.time()
        if isinstance(error, Overloaded):
            first: float = record.get("refused", now)
            record |= {"attempts": record["attempts"] - 1, "refused": first}
            wait, again = error.retry_after, now - first < self.kept.seconds
        else:  # as if the replica of the job itself had died
            wait, again = self.kept.lease_seconds, bool(record["attempts"] < self.kept.attempts)
        if again and await self._is_cancelled(record):
            return True
        if again:
            log.info("%s is put off for %g s: %s", record["job"], wait, error)
            await self._write(record | {"status": QUEUED, "due": now + wait})
            asyncio.get_running_loop().call_later(wait, self._news.set)
        return again

    async def _is_cancelled(self, record: dict[str, Any]) -> bool:
        """Whether somebody wished so while nobody looked; then it is noted."""
        wished = await asyncio.to_thread(self.spool.find, JOBS, record["job"], CANCEL) is not None
        if wished:
            await self._write(record | {"status": CANCELLED})
        return wished

    async def _answer(self, record: dict[str, Any]) -> Turned:
        """Ask, and note how far it is."""
        progress = record["progress"] = {"text": "", "frames": 0, "share": 0.0}
        seconds = (await self.videos.facts(record["video"]))["seconds"]
        noted = time.monotonic()
        async with aclosing(self.backend.stream(ask_of(record["ask"]))) as events:
            async for event in events:
                match event:
                    case Text(piece):
                        progress["text"] += piece
                    case Seen(_, at, _):
                        progress["frames"] += 1
                        progress["share"] = round(min(at / seconds, 1.0), 4) if seconds else 1.0
                    case Done():
                        return Turned(event, None, 0, record["video"])
                if time.monotonic() - noted >= _NOTE:
                    await self._write(record)
                    noted = time.monotonic()
        raise AssertionError("a backend ends with Done")

    async def _stopped(self, name: str, stop: asyncio.Event, lost: asyncio.Event) -> None:
        """Until the job is cancelled, here or elsewhere, or its lease is lost."""
        while not (stop.is_set() or lost.is_set()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _NOTE)
            if await asyncio.to_thread(self.spool.find, JOBS, name, CANCEL) is not None:
                return

    async def _write(self, record: dict[str, Any]) -> None:
        await asyncio.to_thread(self.spool.write, JOBS, record["job"], record)

    def _lease(self, name: str) -> Lease:
        return Lease(self.spool, JOBS, name, self.kept.lease_seconds)


def _is_due(record: dict[str, Any]) -> bool:
    """Whether a job is to be worked on now."""
    return record["status"] not in ENDED and record.get("due", 0.0) <= time.time()


def ask_of(plain: dict[str, Any]) -> Ask:
    """What ``asdict`` made of a question, after JSON."""
    history = tuple((question, raw) for question, raw in plain["history"])
    made = {"sampling": Watching(**plain["sampling"]), "writing": Writing(**plain["writing"]), "history": history}
    return Ask(**(plain | made))


def tree(record: dict[str, Any]) -> dict[str, Any]:
    """What a client hears of a job."""
    known = {name: record[name] for name in ("job", "status", "video", "created", "attempts", "progress", "error")}
    result = f"/v1/jobs/{record['job']}/result" if record["status"] == DONE else None
    return {**known, "question": record["ask"]["question"], "result": result}
