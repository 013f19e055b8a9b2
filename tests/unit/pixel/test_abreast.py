"""Videos that go through memory together keep to what each would be alone."""

import pytest

from tests.unit.pixel.conftest import clip
from vglamm.media import rle
from vglamm.pixel import abreast
from vglamm.pixel.abreast import Trail
from vglamm.pixel.footage import Footage
from vglamm.records import PixelInput


def film(pixel, frames, shift):
    """The fixture's clip, another for each shift."""
    return [PixelInput((part.frames + shift * 29).astype("uint8"), part.size, part.start) for part in clip(pixel, frames)]


@pytest.fixture
def videos(pixel, prompts):
    """(frames, shift, prompts float[S, C]) of three videos; the last is as long as SAM 2 can look back and longer."""
    return [(6, 0, prompts[:1]), (9, 1, prompts), (20, 2, prompts[1:])]


def trail(pixel, video):
    frames, shift, prompts = video
    return Trail(pixel, Footage(pixel, film(pixel, frames, shift), frames), prompts)


def same(rows, alone):
    assert [k for k, _ in rows] == [k for k, _ in alone]
    for (_, row), (_, own) in zip(rows, alone, strict=True):
        assert rle.iou([sight.rle for sight in row], [sight.rle for sight in own]).min() >= 0.99
        assert [sight.score for sight in row] == pytest.approx([sight.score for sight in own], abs=1e-3)


def sizes_stepped(monkeypatch):
    """Objects of every call of SAM 2's ``track_step``."""
    seen = []
    stepped = abreast.Tracker.step
    monkeypatch.setattr(abreast.Tracker, "step", lambda self, *given: seen.append(len(self.prompts)) or stepped(self, *given))
    return seen


def test_together_until_each_has_ended(pixel, videos, monkeypatch):
    alone = [list(trail(pixel, video)) for video in videos]
    trails = [trail(pixel, video) for video in videos]
    rows = [[] for _ in videos]
    seen = sizes_stepped(monkeypatch)
    while going := [at for at, one in enumerate(trails) if one.fetch()]:
        for at, row in zip(going, abreast.step([trails[at] for at in going]), strict=True):
            rows[at].append(row)
    for mine, own in zip(rows, alone, strict=True):
        same(mine, own)
    # Those of 6 and 9 frames see fewer pointers than that of 20, which has a batch of its own.
    assert sorted(set(seen)) == [1, 2, 3]


def test_equal_lengths_are_one_batch_and_who_leaves_and_comes_back_loses_nothing(pixel, prompts, monkeypatch):
    videos = [(8, shift, prompts[: shift + 1]) for shift in range(3)]
    alone = [list(trail(pixel, video)) for video in videos]
    trails = [trail(pixel, video) for video in videos]
    rows = [[], [], []]
    seen = sizes_stepped(monkeypatch)

    def go(*chosen):
        assert all(trails[at].fetch() for at in chosen)
        for at, row in zip(chosen, abreast.step([trails[at] for at in chosen]), strict=True):
            rows[at].append(row)

    go(0, 1, 2)
    go(0, 1, 2)
    go(1), go(1)  # one hurries ahead
    go(2, 0)
    go(0), go(2)
    for _ in range(4):
        go(2, 1, 0)  # all are at the same frame again
    assert seen == [6, 6, 2, 2, 4, 1, 3, 6, 6, 6, 6]
    for mine, own in zip(rows, alone, strict=True):
        same(mine, own)
    assert not any(one.fetch() for one in trails)


def test_alone_is_bit_for_bit_a_tracker(pixel, prompts):
    features = list(Footage(pixel, film(pixel, 5, 1), 5).forwards())
    tracker = abreast.Tracker(pixel, prompts, 5)
    wanted = [abreast.look(tracker.step(one, k), (48, 64)) for k, one in features]
    found = [row for _, row in Trail(pixel, Footage(pixel, film(pixel, 5, 1), 5), prompts)]
    assert [[sight.score for sight in row] for row in found] == [[sight.score for sight in row] for row in wanted]
