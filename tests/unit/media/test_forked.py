"""Children that a nursery forks are as those that this process would start: told, heard, waited for, killed, and gone with it."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.media import acting
from tests.unit.media.processes import born, nurseries
from vglamm.media import forked
from vglamm.media.forked import Forked


@pytest.fixture(autouse=True)
def _a_nursery_of_its_own() -> Iterator[None]:
    forked._stop()
    yield
    forked._stop()


def child(*arguments: Any) -> Forked:
    return Forked(acting.__name__, arguments)


def closed(process: Forked) -> None:
    for end in (process.stdin, process.stdout, process.stderr):
        os.close(end)


def heard(process: Forked) -> tuple[int, str, str]:
    """The exit code, and all that it said, in words and in complaint."""
    with open(process.stdout, closefd=False) as words, open(process.stderr, closefd=False) as complaint:
        said = words.read(), complaint.read()
    code = process.wait(10)
    closed(process)
    return code, *said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("say", "hello"), 0, ""),
        (("exit", 7), 7, ""),
        (("exit", None), 0, ""),
        (("exit", "why"), 1, ""),
        (("fail", "as told"), 1, "ValueError: as told"),
        (("die",), -signal.SIGSEGV, ""),
    ],
)
def test_how_a_child_ended_is_known(arguments: tuple[Any, ...], code: int, words: str) -> None:
    found, said, complaint = heard(child(*arguments))
    assert found == code
    assert said == (arguments[1] if arguments[0] == "say" else "")
    assert words in complaint
    assert not born()


def test_a_module_that_is_not_there_is_named() -> None:
    code, _, complaint = heard(Forked("tests.unit.media.nowhere", []))
    assert code == 1
    assert "No module named 'tests.unit.media.nowhere'" in complaint


def test_a_child_has_its_pipes_alone_and_no_heavy_package() -> None:
    others = [child("wait") for _ in range(3)]
    _, said, _ = heard(child("tell"))
    loaded, descriptors, threads, tasks = literal_eval(said)
    assert loaded == []
    assert descriptors == [0, 1, 2]
    assert (threads, tasks) == (1, 1)
    for other in others:
        other.kill()
        assert other.wait(10) == -signal.SIGKILL
        closed(other)


def test_killing_the_dead_is_harmless() -> None:
    process = child("exit", 3)
    assert process.wait(10) == 3
    process.kill()
    assert process.poll() == 3
    closed(process)


def test_waiting_has_an_end() -> None:
    process = child("wait")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    os.close(process.stdin)
    assert process.wait(10) == 0
    os.close(process.stdout)
    os.close(process.stderr)


def test_many_threads_get_a_child_each_and_nothing_is_left() -> None:
    heard(child("say", 0))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: heard(child("say", n)), range(200)))
    assert found == [(0, str(n), "") for n in range(200)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(nurseries()) == 1
    assert not born()


def test_a_nursery_that_was_killed_is_replaced() -> None:
    process = child("wait")
    [nursery] = nurseries()
    end = os.pidfd_open(nursery)
    os.kill(nursery, signal.SIGKILL)
    assert select.select([end], [], [], 10)[0]
    os.close(end)
    assert process.wait(10) == -signal.SIGKILL, "nobody can say how it ends any more"
    process.kill()
    closed(process)  # which ends it
    assert heard(child("say", "again")) == (0, "again", "")
    assert nurseries().isdisjoint({nursery})


def test_a_nursery_that_ends_meanwhile_is_replaced() -> None:
    heard(child("say", 1))
    [nursery] = nurseries()
    os.kill(nursery, signal.SIGSTOP)  # it hears the request and dies before it answers
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(lambda: heard(child("say", 2)))
        assert not later.done()
        os.kill(nursery, signal.SIGKILL)
        assert later.result(timeout=60) == (0, "2", "")


PARENT = """
import os, sys
from tests.unit.media.processes import born, nurseries
from vglamm.media.forked import Forked
process = Forked("tests.unit.media.acting", ["wait"])
os.read(process.stdout, 7)
print(*nurseries(), *born(), flush=True)
{then}
"""


@pytest.mark.parametrize("then", ["sys.stdin.read()", "pass", "os._exit(0)", "raise SystemExit(3)"])
def test_nothing_outlives_its_parent(then: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        ends = []
        for pid in map(int, parent.stdout.readline().split()):
            try:
                ends.append(os.pidfd_open(pid))
            except ProcessLookupError:  # gone already
                assert then != "sys.stdin.read()"
        parent.kill()
        try:
            for end in ends:
                assert select.select([end], [], [], 10)[0], "it ends soon after"
        finally:
            for end in ends:
                os.close(end)
