"""Frames for pixel come in windows, one ahead, whatever is asked for and whatever came already."""

import numpy as np
import pytest

from serve.backends.wire import Film
from serve.contract import Watching
from serve.deployments.feed import Feed
from vglamm.records import PixelInput

FILM = Film("clip.mp4", Watching())


class Response:
    """One window on its way."""

    def __init__(self, chunks):
        self.chunks, self.cancelled = chunks, False

    def result(self):
        return self.chunks

    def cancel(self):
        self.cancelled = True


class Decoding:
    """Decode as its handle shows it: frame k is full of k; chunks of 3."""

    def __init__(self):
        self.asked: list[tuple[int, int]] = []
        self.responses: list[Response] = []
        self.frames = self

    def options(self, **_):
        return self

    def remote(self, film, first, stop):
        assert film == FILM
        self.asked.append((first, stop))
        self.responses.append(Response(chunks(first, stop)))
        return self.responses[-1]


def chunks(first, stop):
    return [
        PixelInput(np.stack([np.full((3, 2, 2), k, np.uint8) for k in range(at, min(at + 3, stop))]), (2, 2), at)
        for at in range(first, stop, 3)
    ]


def seen(parts) -> list[int]:
    found = []
    for part in parts:
        assert [int(frame[0, 0, 0]) for frame in part.frames] == list(range(part.start, part.start + len(part.frames)))
        found += range(part.start, part.start + len(part.frames))
    return found


@pytest.mark.parametrize("came", [None, chunks(0, 8)])
@pytest.mark.parametrize(("first", "stop"), [(0, 30), (0, 8), (0, 5), (7, 9), (4, 30), (20, 21)])
def test_every_range_is_given_in_order(came, first, stop):
    decoding = Decoding()
    feed = Feed(decoding, FILM, came, 8, "")
    assert seen(feed(first, stop)) == list(range(first, stop))
    have = 8 if came else 0
    expected = [(at, min(at + 8, stop)) for at in range(max(first, have), stop, 8)]
    assert decoding.asked == expected


def test_the_next_window_is_asked_for_while_one_is_used_and_no_more():
    decoding = Decoding()
    feed = Feed(decoding, FILM, None, 8, "other")
    parts = feed(0, 40)
    next(parts)
    assert decoding.asked == [(0, 8), (8, 16)]
    parts.close()
    feed.close()
    assert [response.cancelled for response in decoding.responses] == [False, True]
    feed.close()
