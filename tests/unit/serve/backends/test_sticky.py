"""Which replica gets a request that wishes for one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter

from serve.backends.sticky import Sticky


def replicas(*names: str) -> list[Any]:
    return [SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in names]


def chosen(monkeypatch: Any, candidates: list[Any], session: str) -> list[str]:
    async def usual(*_: Any) -> list[list[Any]]:
        return [candidates[:1]]

    monkeypatch.setattr(PowerOfTwoChoicesRequestRouter, "choose_replicas", usual)
    pending = SimpleNamespace(metadata=SimpleNamespace(session_id=session))
    found = asyncio.run(Sticky.choose_replicas(Sticky.__new__(Sticky), candidates, pending))  # type: ignore[arg-type]
    return [one.replica_id.unique_id for group in found for one in group]


def test_a_replica_that_is_named_comes_first_and_the_usual_ones_after_it(monkeypatch):
    assert chosen(monkeypatch, replicas("a", "b", "c"), "b") == ["b", "a"]


def test_without_a_wish_the_usual_choice_decides(monkeypatch):
    assert chosen(monkeypatch, replicas("a", "b", "c"), "") == ["a"]


def test_a_session_stays_with_its_replica_when_others_come_and_go(monkeypatch):
    names = [f"session {k}" for k in range(200)]
    few, more = replicas("a", "b", "c"), replicas("a", "b", "c", "d")
    before = {name: chosen(monkeypatch, few, name)[0] for name in names}
    after = {name: chosen(monkeypatch, more, name)[0] for name in names}
    assert set(before.values()) == {"a", "b", "c"}
    moved = [name for name in names if after[name] != before[name]]
    assert all(after[name] == "d" for name in moved)
    assert 20 < len(moved) < 90
