"""Notes of answers become sums."""

import pytest

from serve.tally import Note, Sums


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


def test_nothing_happened():
    assert Sums().numbers()["requests"] == 0.0
    assert "latency_p50" not in Sums().numbers()
