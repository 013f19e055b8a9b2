"""Clients of an endpoint, over HTTP."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

QUESTION = "who?"
_PATIENCE = httpx2.Timeout(600.0)


@dataclass(frozen=True)
class Outcome:
    """What a client got in the end. status: 0 if the connection broke. seconds: of the last try. waits: whether a refusal said when
    to come again. tries: 2 if the first one was lost."""

    status: int
    seconds: float
    waits: bool = False
    tries: int = 1


@dataclass
class Outcomes:
    """Of many requests."""

    all: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def statuses(self) -> dict[int, int]:
        return dict(Counter(outcome.status for outcome in self.all))

    @property
    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.all if outcome.status == 200]

    @property
    def failed(self) -> int:
        """Neither answered nor refused with a word when to come again."""
        return sum(o.status != 200 and not (o.status in (429, 503) and o.waits) for o in self.all)

    @property
    def per_second(self) -> float:
        return len(self.answered) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds of the answered ones."""
        ordered = sorted(outcome.seconds for outcome in self.answered)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    @property
    def median(self) -> float:
        return statistics.median(outcome.seconds for outcome in self.answered)


async def upload(client: httpx2.AsyncClient, path: Path) -> str:
    response = await client.post("/v1/videos", content=path.read_bytes(), headers={"content-type": "video/mp4"})
    response.raise_for_status()
    return str(response.json()["video"])


async def ask(client: httpx2.AsyncClient, video: str, *, retry: bool = True) -> Outcome:
    """One question. retry: once more if the first try was lost with a replica, as the Python client does."""
    body = {"video": video, "question": QUESTION, "every_frame": True, "keep": False}
    for tries in (1, 2):
        began = time.perf_counter()
        try:
            response = await client.post("/v1/answers", json=body)
            status, waits = response.status_code, "retry-after" in response.headers
        except httpx2.TransportError:
            status, waits = 0, False
        outcome = Outcome(status, time.perf_counter() - began, waits, tries)
        if not retry or not (status in (0, 500) or (status == 503 and not waits)):
            break
    return outcome


async def clients(url: str, video: Path, count: int, feed: Callable[[], bool], *, retry: bool = True) -> Outcomes:
    """``count`` clients ask one question after the other while ``feed`` says so. Each has a connection of its own."""
    outcomes = Outcomes()

    async def one() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE) as client:
            while feed():
                outcomes.all.append(await ask(client, name, retry=retry))

    async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE) as first:
        name = await upload(first, video)
        await ask(first, name)  # warm up: what is opened and loaded at a first request is not measured
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(count)))
        outcomes.seconds = time.perf_counter() - began
    return outcomes


def requests(total: int) -> Callable[[], bool]:
    """A feed of so many requests."""
    left = iter(range(total))
    return lambda: next(left, None) is not None


def until(deadline: float) -> Callable[[], bool]:
    """A feed until a time of :func:`time.monotonic`."""
    return lambda: time.monotonic() < deadline


async def paced(url: str, video: Path, per_second: float, go_on: Callable[[int], bool], *, retry: bool = True) -> Outcomes:
    """Requests at a fixed pace, whether or not earlier ones are answered. go_on: called with the number of the next, whether it
    goes."""
    outcomes, tasks, number = Outcomes(), set(), 0
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits) as client:
        name = await upload(client, video)
        await ask(client, name)
        began = time.perf_counter()
        while go_on(number):
            tasks.add(asyncio.create_task(ask(client, name, retry=retry)))
            number += 1
            await asyncio.sleep(max(began + number / per_second - time.perf_counter(), 0))
        outcomes.all += await asyncio.gather(*tasks)
        outcomes.seconds = time.perf_counter() - began
    return outcomes
