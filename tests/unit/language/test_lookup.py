"""Guesses: what followed the last few tokens the last time, against a search through all that was there."""

from hypothesis import given
from hypothesis import strategies as some

from vglamm.language.lookup import LONGEST, Lookup


def searched(ids: list[int], count: int) -> list[int]:
    """The same guesses by looking through all ids again for every one, the longest run of tokens and the last place first."""
    guesses: list[int] = []
    for _ in range(count):
        tail = (ids + guesses)[-LONGEST:]
        runs = [tail[begin:] for begin in range(len(tail))]
        places = [(run, at) for run in runs for at in range(len(ids) - 1, len(run) - 1, -1) if ids[at - len(run) : at] == run]
        at = next((at for run, at in places), None)
        if at is None:
            break
        guesses.append(ids[at])
    return guesses


@given(some.lists(some.integers(0, 3), max_size=30), some.integers(0, 6), some.integers(0, 30))
def test_guesses_are_what_followed_the_last_time(ids, count, cut):
    lookup = Lookup(ids[:cut])
    for token in ids[cut:]:
        lookup.add(token)
    assert lookup.guess(count) == searched(ids, count)


def test_the_longer_run_wins_and_a_repetition_goes_on():
    assert Lookup([1, 2, 3, 9, 2, 3, 8, 1, 2, 3]).guess(2) == [9, 2]
    assert Lookup([7, 7]).guess(4) == [7, 7, 7, 7]
    assert Lookup([1, 2, 3]).guess(3) == []
    assert Lookup().guess(3) == []
