"""A lease is one holder's, whoever else tries at the same time, until it is dropped or its time is over."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.store.lease import Lease
from serve.store.spool import JOBS, Spool, new
from vglamm.errors import InUse

RIVALS = 8


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path), 1)


@pytest.mark.parametrize("stale", [False, True])
def test_of_all_who_try_at_once_one_gets_it(spool: Spool, tmp_path: Path, stale: bool) -> None:
    for _ in range(20):
        name, together = new(JOBS), threading.Barrier(RIVALS)
        if stale:
            assert Lease(spool, JOBS, name, -1.0).take()

        def attempt(together: threading.Barrier = together, name: str = name) -> bool:
            lease = Lease(spool, JOBS, name, 60.0)
            together.wait(60)
            return lease.take()

        with ThreadPoolExecutor(RIVALS) as pool:
            assert sum(pool.map(lambda _, go=attempt: go(), range(RIVALS))) == 1
        assert [path.name for path in (tmp_path / JOBS / name).iterdir()] == ["lease.json"]


def test_it_is_kept_renewed_and_given_back(spool: Spool) -> None:
    name = new(JOBS)
    one, two = Lease(spool, JOBS, name, 60.0), Lease(spool, JOBS, name, 60.0)
    assert one.take()
    assert one.take()
    assert not two.take()
    assert not two.free()
    two.drop()  # not its own
    assert not two.take()
    one.drop()
    assert two.take()


def test_a_holder_learns_that_it_was_taken(spool: Spool) -> None:
    name = new(JOBS)

    async def work() -> None:
        async with Lease(spool, JOBS, name, 0.3).held() as lost:
            with pytest.raises(InUse):
                async with Lease(spool, JOBS, name, 0.3).held():
                    raise AssertionError("two hold it")
            spool.write(JOBS, name, {"holder": "another", "until": 2e10}, "lease")
            await asyncio.wait_for(lost.wait(), 60)
        found = spool.find(JOBS, name, "lease")
        assert found is not None
        assert found["holder"] == "another"

    asyncio.run(work())
