"""Videos of the spool are opened once, kept while somebody uses them, and forgotten in the order of their use."""

import shutil
import threading

import pytest

from serve.backends.films import TOGETHER, Films
from vglamm.errors import VideoNotFound
from vglamm.media.limits import Limits


@pytest.fixture
def films(spool, tmp_path):
    for name in "abc":
        shutil.copy(spool / "clip.mp4", tmp_path / f"{name}.mp4")
    made = Films(str(tmp_path), Limits(), kept=2)
    yield made
    made.close()


def test_a_film_is_opened_once_also_by_two_at_a_time(films):
    found = []
    meet = threading.Barrier(2)

    def use():
        meet.wait()
        with films.opened("a.mp4") as source:
            found.append(source)

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    with films.opened("a.mp4") as source:
        assert found == [source, source]
        assert len(source) == 12


def test_what_nobody_uses_is_closed_oldest_first(films):
    opened = {}
    with films.opened("a.mp4") as held:
        for name in "bcb":
            with films.opened(f"{name}.mp4") as opened[name]:
                pass
        assert set(films._open) == {"a.mp4", "b.mp4"}, "a is in use; c was used before b"
        assert len(held.frames_at([0, 11])) == 2
    with films.opened("b.mp4") as again:
        assert again is opened["b"]
    with films.opened("c.mp4") as again:
        assert again is not opened["c"]


def test_a_film_that_is_not_there_leaves_nothing(films):
    for _ in range(2):
        with pytest.raises(VideoNotFound), films.opened("none.mp4"):
            pass
    assert not films._open


def test_a_film_in_use_keeps_a_child_for_each_request_and_one_at_rest_those_of_one_question(tmp_path, spool):
    shutil.copy(spool / "clip.mp4", tmp_path / "a.mp4")
    films = Films(str(tmp_path), Limits(), together=4)
    with films.opened("a.mp4") as source:
        walks = [source.stream(chunk=1) for _ in range(4)]
        for walk in walks:
            next(walk)
        for walk in walks:
            list(walk)
        assert len(source._idle) == 4
        with films.opened("a.mp4"):
            pass
        assert len(source._idle) == 4, "somebody still uses it"
    assert len(source._idle) == TOGETHER
    films.close()
    assert not source._idle
