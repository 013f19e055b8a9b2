"""The endpoint for long: replicas that die, floods, clients that leave, an update, and hundreds of requests in a row."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.model import resolved
from benchmarks.report import Row, Section
from benchmarks.serving import load, trials
from benchmarks.serving.endpoint import SLOW, Endpoint, deploy, free_port, http, served
from benchmarks.serving.trials import NARROW, PAIRS


@dataclass(frozen=True)
class Plan:
    """How much of each. kills: of replicas of each part. flood: seconds."""

    killing: int = 2000
    kills: int = 2
    flood: float = 60.0
    leaving: int = 200
    enduring: int = 500


SHORT = Plan(killing=100, kills=1, flood=10.0, leaving=16, enduring=60)


def run(*, model: str, short: bool) -> Section:
    plan = SHORT if short else Plan()
    os.environ.update(SLOW)
    with tempfile.TemporaryDirectory(prefix="vglamm-soak-") as scratch:
        folder = Path(scratch)
        source, what = resolved(model, folder / "model")
        [clip] = write_clips(folder, 1, frames=12)
        with rays.one_node():
            from ray import serve as ray_serve

            url = http(free_port())
            try:
                with served(source, folder / "spool", PAIRS, url=url) as endpoint:
                    rows = trials.killed(endpoint, clip, plan.killing, kills=plan.kills)
                    rows += _updated(endpoint, clip, source, folder / "spool")
                    rows += [*trials.left(endpoint, clip, plan.leaving), *trials.endured(endpoint, clip, plan.enduring)]
                with served(source, folder / "narrow", NARROW, app="narrow", url=f"{url}/narrow") as endpoint:
                    rows += trials.flooded(endpoint, clip, NARROW, plan.flood)
            finally:
                ray_serve.shutdown()
    how = (
        f"Model: {what}. Two replicas of each part for all but the flood; clients over HTTP, each asking once more if its "
        "connection died with a replica of the ingress."
    )
    return Section("The endpoint, for long", how, tuple(rows))


def _updated(endpoint: Endpoint, clip: Path, source: str, spool: Path) -> list[Row]:
    async def both() -> load.Outcomes:
        update = asyncio.ensure_future(asyncio.to_thread(deploy, source, spool, replace(PAIRS, retry_after=3.0)))
        outcomes = await load.clients(endpoint.url, clip, 3, lambda: not update.done())
        await update
        return outcomes

    outcomes = asyncio.run(both())
    failed = len(outcomes.all) - len(outcomes.answered)
    return [trials.exactly(f"failed of {len(outcomes.all)} while every replica is replaced", failed, "", at_most=0)]
