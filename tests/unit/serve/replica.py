"""``python -m tests.unit.serve.replica SPOOL LEASE``: a replica that works on jobs and never ends one, to be killed."""

from __future__ import annotations

import asyncio
import sys

from serve.ingress import api
from serve.settings import Kept, Settings
from tests.unit.serve.canned import Canned


class Stuck(Canned):
    """Says on standard output that it began, and waits for ever."""

    async def _step(self) -> None:
        if self.steps == 3:
            sys.stdout.write("began\n")
            sys.stdout.flush()
            await asyncio.Event().wait()
        self.steps += 1


async def main(spool: str, lease: float) -> None:
    app = api(Stuck(spool), Settings(spool=spool, kept=Kept(lease_seconds=lease)))
    async with app.router.lifespan_context(app):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
