"""One bad item fails alone, whatever it raises; nothing that a stage does ends its actor."""

from __future__ import annotations

import sys

import pytest

from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.stages import guarded
from vglamm.errors import VideoUnreadable


def parcels(*names: str) -> list[Parcel]:
    return [Parcel(position, {"id": name}) for position, name in enumerate(names)]


def unreadable() -> None:
    raise VideoUnreadable("noise", "a video", "look at it")


ACTS = {"raise": unreadable, "crash": lambda: 1 / 0, "exit": lambda: sys.exit(0), "leave": lambda: sys.exit("as a library may")}


class Stage:
    """Does what a parcel is called; counts the items of its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, given: list[Parcel]) -> list[Parcel]:
        self.calls.append(len(given))
        for parcel in given:
            ACTS.get(parcel.plain["id"], lambda: None)()
        return [Parcel(parcel.position, parcel.plain | {"done": True}) for parcel in given]


@pytest.mark.parametrize(
    ("act", "kind"), [("raise", "VideoUnreadable"), ("crash", "ZeroDivisionError"), ("exit", "SystemExit"), ("leave", "SystemExit")]
)
def test_a_bad_one_fails_alone_with_its_reason(act: str, kind: str) -> None:
    stage = Stage()
    done = guarded(stage, parcels("a", act, "b"))
    assert [parcel.position for parcel in done] == [0, 1, 2]
    assert [parcel.failed for parcel in done] == [False, True, False]
    assert done[1].plain["error"][0] == kind
    assert done[1].plain["error"][1], "a reason, also where the error has no words"
    assert stage.calls == [3, 1, 1, 1], "all at once, then one by one"


def test_good_ones_share_a_call_and_failed_ones_pass_untouched() -> None:
    stage, given = Stage(), parcels("a", "b", "c")
    given[1] = given[1].fail("VideoUnreadable", "before")
    done = guarded(stage, given)
    assert stage.calls == [2]
    assert [parcel.plain.get("done", False) for parcel in done] == [True, False, True]
    assert done[1] is given[1]
    assert guarded(stage, [given[1]]) == [given[1]]
    assert stage.calls == [2], "nothing left to do is no call"
