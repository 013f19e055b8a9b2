"""Sessions are bounded in number, in bytes and in time."""

from serve.backends.kept import Bounds, Kept


def kept(**bounds) -> tuple[Kept[str], list[float]]:
    now = [0.0]
    return Kept(Bounds(**bounds), lambda: now[0]), now


def test_the_least_recently_used_goes_first():
    held, _ = kept(sessions=2)
    for name in "ab":
        held.put(name, name.upper(), 1)
    assert held.get("a") == "A"
    held.put("c", "C", 1)
    assert [held.get(name) for name in "abc"] == ["A", None, "C"]


def test_bytes_are_bounded_also_for_one_that_is_too_large():
    held, _ = kept(bytes=10)
    held.put("a", "A", 6)
    held.put("b", "B", 6)
    assert (held.get("a"), held.get("b"), held.bytes) == (None, "B", 6)
    held.put("c", "C", 11)
    assert (len(held), held.bytes) == (0, 0)


def test_what_was_not_used_for_long_expires():
    held, now = kept(seconds=10)
    held.put("a", "A", 1)
    held.put("b", "B", 1)
    now[0] = 8.0
    assert held.get("a") == "A"
    now[0] = 12.0
    assert (held.get("b"), held.get("a"), len(held)) == (None, "A", 1)


def test_without_a_session_nothing_is_kept():
    held, _ = kept()
    held.put(None, "A", 1)
    assert (len(held), held.get(None)) == (0, None)
    held.drop("never there")
