"""The endpoint for long: replicas that die, floods, clients that leave, an update, and hundreds of requests in a row."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.model import resolved
from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from benchmarks.serving import load
from benchmarks.serving.endpoint import SLOW, Endpoint, deploy, http, served, small, until
from serve.profile import SPLIT as PARTS
from serve.profile import Part

ALL = ("ingress", *PARTS)
TWICE = small(name="pairs", **dict.fromkeys(ALL, Part(replicas=(2, 2), cpus=0.1, ongoing=16, queued=64, check=2.0, drain=60.0)))
NARROW = small(name="narrow", **dict.fromkeys(ALL, Part(cpus=0.1, ongoing=4, queued=4, check=2.0)))


@dataclass(frozen=True)
class Plan:
    """How much of each. flood: seconds."""

    killing: int = 2000
    flood: float = 60.0
    leaving: int = 200
    enduring: int = 500


SHORT = Plan(killing=100, flood=10.0, leaving=16, enduring=60)


def run(*, model: str, short: bool) -> Section:
    plan = SHORT if short else Plan()
    os.environ.update(SLOW)
    with tempfile.TemporaryDirectory(prefix="vglamm-soak-") as scratch:
        folder = Path(scratch)
        source, what = resolved(model, folder / "model")
        [clip] = write_clips(folder, 1, frames=12)
        with rays.one_node():
            from ray import serve as ray_serve

            url = http(_free())
            try:
                with served(source, folder / "spool", TWICE, url=url) as endpoint:
                    rows = [*_killed(endpoint, clip, plan), *_updated(endpoint, clip, source, folder / "spool")]
                    rows += [*_left(endpoint, clip, plan), *_endured(endpoint, clip, plan)]
                with served(source, folder / "narrow", NARROW, app="narrow", url=f"{url}/narrow") as endpoint:
                    rows += _flooded(endpoint, clip, plan)
            finally:
                ray_serve.shutdown()
    how = (
        f"Model: {what}. Two replicas of each part for all but the flood; clients over HTTP, each asking once more if its "
        "connection died with a replica of the ingress."
    )
    return Section("The endpoint, for long", how, tuple(rows))


def _killed(endpoint: Endpoint, clip: Path, plan: Plan) -> list[Row]:
    """A replica of each part in turn, at half of the capacity; how soon Serve has two again."""
    capacity = asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(max(plan.killing // 20, 16)))).per_second
    every = plan.killing // (2 * len(ALL))
    recovered: list[float] = []

    async def strike(number: int) -> None:
        if number and number % every == 0:
            victim = ALL[number // every % len(ALL)]
            endpoint.kill(victim)
            watching.append(asyncio.create_task(asyncio.to_thread(_recovery, endpoint, victim, recovered)))

    watching: list[asyncio.Task[None]] = []

    async def whole() -> load.Outcomes:
        outcomes = await load.paced(endpoint.url, clip, capacity / 2, plan.killing, strike)
        await asyncio.gather(*watching)
        return outcomes

    outcomes = asyncio.run(whole())
    answered = 100 * len(outcomes.answered) / len(outcomes.all)
    return [
        _exact(
            f"answered 200 of {plan.killing} at half of the capacity, {len(watching)} replicas killed",
            answered,
            " %",
            at_least=99.9,
        ),
        Row("two replicas run again after a kill", Spread.of(recovered), " s", at_most=20.0),
    ]


def _recovery(endpoint: Endpoint, victim: str, recovered: list[float]) -> None:
    began = time.monotonic()
    for _ in until(300, f"the loss of a replica of {victim}"):
        if endpoint.running(victim) < 2:
            break
    for _ in until(300, f"two replicas of {victim}"):
        if endpoint.running(victim) == 2:
            break
    recovered.append(time.monotonic() - began)


def _updated(endpoint: Endpoint, clip: Path, source: str, spool: Path) -> list[Row]:
    async def both() -> load.Outcomes:
        update = asyncio.ensure_future(asyncio.to_thread(deploy, source, spool, replace(TWICE, retry_after=3.0)))
        outcomes = await load.clients(endpoint.url, clip, 3, lambda: not update.done())
        await update
        return outcomes

    outcomes = asyncio.run(both())
    failed = len(outcomes.all) - len(outcomes.answered)
    return [_exact(f"failed of {len(outcomes.all)} while every replica is replaced", failed, "", at_most=0)]


def _left(endpoint: Endpoint, clip: Path, plan: Plan) -> list[Row]:
    """Clients that go away at the first text, phrase or mask."""
    import httpx2

    async def leave() -> None:
        async with httpx2.AsyncClient(base_url=endpoint.url, timeout=600) as client:
            body = {"video": await load.upload(client, clip), "question": load.QUESTION, "every_frame": True, "stream": True}

            async def one(number: int) -> None:
                async with client.stream("POST", "/v1/answers", json=body) as response:
                    async for line in response.aiter_lines():
                        if line == ("event: text", "event: phrase", "event: masks")[number % 3]:
                            return

            for first in range(0, plan.leaving, 4):
                await asyncio.gather(*(one(number) for number in range(first, min(first + 4, plan.leaving))))

    asyncio.run(leave())
    work = 1.0
    for _ in until(180, "the end of cancelled work"):
        work = sum(sum(endpoint.inside(name, lambda part: part.station.gauge.load)) for name in PARTS)
        if not work:
            break
    riding = sum(endpoint.inside("language", lambda part: len(part.own.engine._riding) + len(part.own.engine._waiting)))
    return [_exact(f"pieces of work left by {plan.leaving} clients that went away", work + riding, "", at_most=0)]


def _endured(endpoint: Endpoint, clip: Path, plan: Plan) -> list[Row]:
    """Memory and open files of all replicas, from a tenth of the requests to the last."""
    asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(plan.enduring // 10)))
    before = _held(endpoint)
    outcomes = asyncio.run(load.clients(endpoint.url, clip, 4, load.requests(plan.enduring)))
    after = _held(endpoint)
    growth = [100 * (after[name][0] / before[name][0] - 1) for name in ALL]
    files = max(after[name][1] - before[name][1] for name in ALL)
    return [
        _exact(f"failed of {plan.enduring} in a row", len(outcomes.all) - len(outcomes.answered), "", at_most=0),
        Row(
            "growth of a part's memory meanwhile, the worst of all parts",
            Spread(max(growth), min(growth), max(growth)),
            " %",
            at_most=5.0,
        ),
        _exact("growth of its open files, the worst", files, "", at_most=16),
    ]


def _flooded(endpoint: Endpoint, clip: Path, plan: Plan) -> list[Row]:
    """Ten times as many clients as may be at work."""
    idle = asyncio.run(load.clients(endpoint.url, clip, 1, load.requests(8))).median
    before = _held(endpoint)
    flood = load.until(time.monotonic() + plan.flood)
    outcomes = asyncio.run(load.clients(endpoint.url, clip, 10 * NARROW.ingress.ongoing, flood, retry=False))
    after = _held(endpoint)
    growth = max(100 * (after[name][0] / before[name][0] - 1) for name in ALL)
    bound = NARROW.ingress.queued + NARROW.ingress.ongoing
    return [
        _exact(f"of {len(outcomes.all)} in a flood, neither answered nor refused with Retry-After", outcomes.failed, "", at_most=0),
        _exact("growth of a part's memory in the flood, the worst", growth, " %", at_most=5.0),
        _exact("p95 of the admitted, in idle times", outcomes.percentile(0.95) / idle, "x", at_most=float(bound + 1)),
    ]


def _held(endpoint: Endpoint) -> dict[str, tuple[float, int]]:
    """Resident bytes and open files of each part, all replicas together."""
    import psutil

    def mine(_: object) -> tuple[float, int]:
        process = psutil.Process()
        return float(process.memory_info().rss), process.num_fds()

    found = {name: endpoint.inside(name, mine) for name in ALL}
    return {name: (sum(size for size, _ in held), sum(files for _, files in held)) for name, held in found.items()}


def _exact(what: str, value: float, unit: str, **goal: float) -> Row:
    return Row(what, Spread(value, value, value), unit, **goal)


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
