"""Notes of answers become sums, and sums become minutes in the books."""

import asyncio

import pytest

from serve.deployments.tally import Tally
from serve.profile import Profile
from serve.setup import Setup
from serve.tally import Note, Sums
from vglamm.errors import EnvironmentProblem, VglammError
from vglamm.media.limits import Limits


def test_sums_of_answers_and_failures():
    sums = Sums()
    for n in range(1, 101):
        sums.add(Note("ask", "", n / 100, 0.1, None if n % 2 else 0.2, tokens=10, masks=4))
    sums.add(Note("ask", "VideoTooLarge", 0.0))
    numbers = sums.numbers()
    assert (numbers["requests"], numbers["failures"], dict(sums.failures)) == (101.0, 1.0, {"VideoTooLarge": 1})
    assert (numbers["latency_p50"], numbers["latency_p95"]) == (pytest.approx(0.51), pytest.approx(0.96))
    assert (numbers["first_token_p50"], numbers["first_mask_p50"]) == (0.1, 0.2)
    assert numbers["tokens_per_second"] > numbers["masks_per_second"] > 0


def test_a_long_stretch_keeps_the_latest():
    sums = Sums()
    for n in range(10_050):
        sums.add(Note("ask", "", float(n)))
    assert (len(sums.seconds), sums.seconds[0]) == (10_000, 50.0)


class Books:
    """Fails as often as it is told to, then keeps what it is given."""

    def __init__(self, failures: int) -> None:
        self.failures, self.kept = failures, []

    def log(self, numbers: dict[str, float], step: int) -> None:
        if self.failures:
            self.failures -= 1
            raise EnvironmentProblem("no MLflow", "one", "see to it")
        self.kept.append((step, numbers))


class Alone(Tally):
    """Without a Serve that awaits its end."""

    def __del__(self) -> None:
        return


def test_a_minute_without_books_is_told_with_the_next_one(monkeypatch):
    monkeypatch.setattr("serve.deployments.tally._replicas", lambda: {"pixel": 2})

    async def minutes() -> None:
        tally = Alone(Setup((("m", "m"),), Profile("p"), "spool", Limits()), "off", "out", {}, period=0.0)
        tally.run = books = Books(failures=2)
        await tally.note([Note("ask", "", 0.5, 0.1, 0.2, tokens=10, masks=4), Note("ask", "Lost", 0.1)])
        while not books.kept:
            await asyncio.sleep(0)
        await tally.check_health()
        step, numbers = books.kept[0]
        assert (step, numbers["requests"], numbers["failures"], numbers["replicas/pixel"]) == (1, 2.0, 1.0, 2.0)
        assert (numbers["latency_p50"], numbers["first_mask_p50"]) == (0.5, 0.2)
        tally.task.cancel()
        await asyncio.wait({tally.task})
        with pytest.raises(VglammError, match="does not log"):
            await tally.check_health()

    asyncio.run(minutes())


def test_nothing_happened():
    assert Sums().numbers()["requests"] == 0.0
    assert "latency_p50" not in Sums().numbers()
