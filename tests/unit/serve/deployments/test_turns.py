"""Work is let in by rank, as much as there is room for, and whoever leaves takes nothing along."""

from __future__ import annotations

import asyncio
import random

from serve.deployments.turns import Turns


def test_the_least_rank_is_next_and_of_equal_ones_who_came_first():
    order: list[str] = []

    async def one(turns: Turns, name: str, rank: float) -> None:
        async with turns.turn(1, rank, name):
            order.append(name)
            await asyncio.sleep(0)

    async def all_of_them() -> Turns:
        turns = Turns(1)
        ranks = {"first": 9.0, "b": 2.0, "c": 1.0, "d": 2.0, "e": -3.0}
        await asyncio.gather(*(one(turns, name, rank) for name, rank in ranks.items()))
        return turns

    turns = asyncio.run(all_of_them())
    assert order == ["e", "c", "b", "d", "first"]
    assert turns.inside == 0


def test_no_more_is_inside_than_there_is_room_for_but_what_is_larger_goes_in_alone():
    seen: list[tuple[float, float]] = []

    async def one(turns: Turns, amount: float, rank: float) -> None:
        async with turns.turn(amount, rank, "kind"):
            seen.append((amount, turns.inside))
            await asyncio.sleep(0)
            seen.append((amount, turns.inside))

    async def all_of_them() -> None:
        turns, chance = Turns(10), random.Random(0)
        await asyncio.gather(*(one(turns, chance.choice([1, 4, 7, 30]), chance.random()) for _ in range(200)))
        assert turns.inside == 0

    asyncio.run(all_of_them())
    assert len(seen) == 400
    assert max(inside for _, inside in seen if inside != 30) <= 10
    assert {inside for amount, inside in seen if amount == 30} == {30}
    assert {inside for _, inside in seen} > {8, 10}, "and it is filled"


def test_who_leaves_while_waiting_or_inside_leaves_its_room():
    async def hold(turns: Turns, come: asyncio.Event) -> None:
        async with turns.turn(1, 0, None):
            come.set()
            await asyncio.Event().wait()

    async def all_of_them() -> None:
        turns, inside, later, last = Turns(1), asyncio.Event(), asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(hold(turns, inside))
        await inside.wait()
        waiting = asyncio.create_task(hold(turns, later))
        after = asyncio.create_task(hold(turns, last))
        await asyncio.sleep(0)
        waiting.cancel()
        first.cancel()
        await last.wait()
        assert not later.is_set()
        assert turns.inside == 1
        after.cancel()
        await asyncio.gather(first, waiting, after, return_exceptions=True)
        assert turns.inside == 0

    asyncio.run(all_of_them())


def test_who_leaves_at_the_moment_it_is_let_in_leaves_its_room():
    async def all_of_them() -> None:
        turns, inside = Turns(1), asyncio.Event()
        turns.inside = 1

        async def hold() -> None:
            async with turns.turn(1, 0, None):
                inside.set()

        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        turns.inside = 0
        turns._let_in()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not inside.is_set()
        assert turns.inside == 0

    asyncio.run(all_of_them())


def test_those_of_a_kind_go_in_together_and_who_comes_out_may_go_on_before_others():
    inside: list[list[str]] = []

    async def all_of_them() -> None:
        turns, there = Turns(3), set[str]()

        async def one(name: str, kind: str, rank: float, times: int) -> None:
            for time in range(times):
                async with turns.turn(1, rank, (kind, time)):
                    there.add(name)
                    await asyncio.sleep(0)
                    if there not in map(set, inside[-1:]):
                        inside.append(sorted(there))
                    await asyncio.sleep(0)
                    there.discard(name)

        given = [("a", "x", 1.0, 3), ("b", "x", 1.0, 3), ("c", "y", 2.0, 1), ("d", "x", 1.5, 2), ("e", "y", 2.0, 1)]
        await asyncio.gather(*(one(*each) for each in given))

    asyncio.run(all_of_them())
    assert inside[0] == ["a", "b", "d"], "as many of a kind as there is room for"
    assert inside[-1] == ["c", "e"], "the others wait until those of lower rank have ended"
    assert all(not {"a", "b", "d"} & set(names) or not {"c", "e"} & set(names) for names in inside)
