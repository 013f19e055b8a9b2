"""What an endpoint has to bear, done to one that runs and held to goals: fault tests do a little of each, ``make soak`` a lot."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread
from benchmarks.report import Row
from benchmarks.serving import load
from benchmarks.serving.endpoint import Endpoint, small, until
from benchmarks.serving.held import growth, held, imports, started
from serve.profile import SPLIT, Part, Profile
from serve.store.spool import SESSIONS

ALL = ("ingress", *SPLIT)
PAIRS = small(name="pairs", **dict.fromkeys(ALL, Part(replicas=(2, 2), cpus=0.1, ongoing=16, queued=64, drain=60.0)))
NARROW = small(name="narrow", **dict.fromkeys(ALL, Part(cpus=0.1, ongoing=4, queued=4)))
RECOVERED, STARTING = 20.0, 2.5
"""Seconds until a replica that died is replaced, where nothing else runs; how many times as long as the imports of a bare process a
replica may keep a core until it runs."""
MEMORY, FILES = 5.0, 16
"""Percent, and number, by which a part may grow."""
EVENTS = ("event: text", "event: phrase", "event: masks")


def killed(endpoint: Endpoint, clip: Path, requests: int, kills: int = 1, within: float = RECOVERED) -> list[Row]:
    """``kills`` replicas of each part, one when the one before is replaced, at half of the capacity and over so many requests at
    least. within: seconds until Serve has two of it again. What a new one costs is held too, as a ratio to the imports of a bare
    process at the same time: a slow machine does not change it."""
    capacity = asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(max(requests // 20, 16)))).per_second
    victims = ALL * kills
    every = requests // (len(victims) + 1)
    recovered: dict[str, list[tuple[float, float]]] = {name: [] for name in ALL}
    bare: list[float] = []
    watching: list[asyncio.Task[None]] = []

    def go_on(number: int) -> bool:
        struck = len(watching)
        if struck < len(victims) and number >= every * (struck + 1) and all(task.done() for task in watching):
            endpoint.kill(victims[struck])
            watching.append(asyncio.create_task(asyncio.to_thread(_recovery, endpoint, victims[struck], recovered, bare)))
        return number < requests or len(watching) < len(victims)

    async def whole() -> load.Outcomes:
        outcomes = await load.paced(endpoint.url, clip, capacity / 2, go_on)
        await asyncio.gather(*watching)
        return outcomes

    outcomes = asyncio.run(whole())
    answered = 100 * len(outcomes.answered) / len(outcomes.all)
    what = f"answered 200 of {len(outcomes.all)} at half of the capacity, {len(victims)} replicas killed"
    rows = [exactly(what, answered, " %", at_least=99.9 if requests >= 1000 else 100.0)]
    for name, each in recovered.items():
        seconds, cores = [one[0] for one in each], [one[1] / bare[0] for one in each]
        rows.append(Row(f"two replicas of {name} again after a kill", worst(seconds), " s", at_most=within))
        rows.append(Row(f"cost of the start of the new one of {name}, in bare imports", worst(cores), "x", at_most=STARTING))
    return rows


def _recovery(endpoint: Endpoint, victim: str, recovered: dict[str, list[tuple[float, float]]], bare: list[float]) -> None:
    """Seconds and core time of a new replica into ``recovered``; the core time of the imports, beside the same load, into ``bare``,
    once."""
    began = time.monotonic()
    for _ in until(300, f"the loss of a replica of {victim}", endpoint.state):
        if endpoint.running(victim) < 2:
            break
    for _ in until(300, f"two replicas of {victim}", endpoint.state):
        if endpoint.running(victim) == 2:
            break
    seconds = time.monotonic() - began
    recovered[victim].append((seconds, max(endpoint.inside(victim, started))[1]))
    if not bare:
        bare.append(imports())


def left(endpoint: Endpoint, clip: Path, clients: int) -> list[Row]:
    """Clients that go away at the first text, phrase or masks. What is held is counted from a fifth of them to the last."""
    asyncio.run(_leave(endpoint.url, clip, clients // 5))
    _settled(endpoint)
    before = held(endpoint, ALL)
    asyncio.run(_leave(endpoint.url, clip, clients - clients // 5))
    work = _settled(endpoint)
    sizes, files = growth(before, held(endpoint, ALL))
    return [
        exactly(f"pieces of work left by {clients} clients that went away", work, "", at_most=0),
        exactly("sessions left that nobody can ask in", _orphans(endpoint), "", at_most=0),
        Row("growth of a part's memory meanwhile, the worst of all parts", worst(sizes), " %", at_most=MEMORY),
        exactly("growth of its open files, the worst", max(files), "", at_most=FILES),
    ]


async def _leave(url: str, clip: Path, clients: int) -> None:
    import httpx2

    async with httpx2.AsyncClient(base_url=url, timeout=600) as client:
        body = {"video": await load.upload(client, clip), "question": load.QUESTION, "every_frame": True, "stream": True}

        async def one(number: int) -> None:
            async with client.stream("POST", "/v1/answers", json=body) as response:
                async for line in response.aiter_lines():
                    if line == EVENTS[number % len(EVENTS)]:
                        return
            raise AssertionError(f"a stream of status {response.status_code} without {EVENTS[number % len(EVENTS)]}")

        for first in range(0, clients, 4):
            await asyncio.gather(*(one(number) for number in range(first, min(first + 4, clients))))


def _settled(endpoint: Endpoint) -> float:
    """Work that is left when none is counted any more."""
    for _ in until(180, "the end of cancelled work", endpoint.state):
        if not any(sum(endpoint.inside(name, lambda part: part.station.gauge.load)) for name in SPLIT):
            break
    return sum(endpoint.inside("language", lambda part: len(part.own.engine._riding) + len(part.own.engine._waiting)))


def _orphans(endpoint: Endpoint) -> int:
    """Visual tokens kept for sessions that have no record, and leases on such."""

    def known(ingress: Any) -> tuple[set[str], set[str], set[str]]:
        spool = ingress.routes.state.desk.spool
        named = {name for _, name in spool.names(SESSIONS)}
        leased = {path.name for path in Path(spool.place.path, SESSIONS).iterdir() if path.is_dir()}
        return set(ingress.backend.inner.seen.kept.names), leased, named

    return sum(len((kept | leased) - named) for kept, leased, named in endpoint.inside("ingress", known))


def endured(endpoint: Endpoint, clip: Path, requests: int) -> list[Row]:
    """Memory and open files of all replicas, from a fifth of the requests to the last."""
    asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(requests // 5)))
    before = held(endpoint, ALL)
    outcomes = asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(requests)))
    sizes, files = growth(before, held(endpoint, ALL))
    return [
        exactly(f"failed of {requests} in a row", len(outcomes.all) - len(outcomes.answered), "", at_most=0),
        Row("growth of a part's memory meanwhile, the worst of all parts", worst(sizes), " %", at_most=MEMORY),
        exactly("growth of its open files, the worst", max(files), "", at_most=FILES),
    ]


def flooded(endpoint: Endpoint, clip: Path, profile: Profile, seconds: float, within: float = 1.0) -> list[Row]:
    """Ten times as many requests as can be answered. Who is admitted waits for no more than the profile lets queue before him,
    times ``within``: who floods takes cores of the machine, too."""
    idle = asyncio.run(load.clients(endpoint.url, clip, 1, load.requests(8))).median
    capacity = asyncio.run(load.clients(endpoint.url, clip, profile.ingress.ongoing, load.requests(24))).per_second
    before = held(endpoint, ALL)
    rate = 10 * capacity
    outcomes = asyncio.run(load.paced(endpoint.url, clip, rate, lambda number: number < rate * seconds, retry=False))
    sizes, _ = growth(before, held(endpoint, ALL))
    refused = len(outcomes.all) - len(outcomes.answered) - outcomes.failed
    return [
        exactly(
            f"of {len(outcomes.all)} in a flood, neither answered nor refused with Retry-After", outcomes.failed, "", at_most=0
        ),
        exactly("of them refused", refused, "", at_least=len(outcomes.all) / 2),
        Row("growth of a part's memory in the flood, the worst", worst(sizes), " %", at_most=MEMORY),
        exactly(
            "p95 of the admitted, in idle times",
            outcomes.percentile(0.95) / idle,
            "x",
            at_most=within * (1.0 + bound(profile.ingress)),
        ),
    ]


def bound(part: Part) -> int:
    """Requests that may be before one that is admitted: those at work and those that wait."""
    return part.ongoing + part.queued


def worst(series: list[float]) -> Spread:
    """Held to its goal by the highest."""
    return Spread(max(series), min(series), max(series))


def exactly(what: str, value: float, unit: str, **goal: float) -> Row:
    return Row(what, Spread(value, value, value), unit, **goal)
