"""One bad item fails alone, whatever it raises; nothing that a stage does ends its actor."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs.annotate.fill import parcel_of
from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.remote import rows_from
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Decode, Settings, guarded, rows_of
from serve.client import Answered
from tests import fakes
from tests.unit.ray_jobs.test_bulk_remote import Spoken
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


def test_a_row_that_fails_tells_of_which_bytes_as_through_an_endpoint(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(fakes.config().to_json())
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    (tmp_path / "t.jsonl").write_text('{"uri": "noise.mp4"}\n{"uri": "gone.mp4"}\n')
    settings = Settings(str(tmp_path / "model"), {})
    job = BulkJob(read_manifest(str(tmp_path / "t.jsonl"), ["who?"]), settings, load_profile("laptop"), str(tmp_path), model="m")
    here = [
        row for parcel in guarded(Decode(settings), [parcel_of(one, job) for one in job.manifest.jobs]) for row in rows_of(parcel)
    ]
    there = [row for one in job.manifest.jobs for row in rows_from(one, job, Refusing())[0]]
    assert [(row.error_type, row.sha256) for row in here] == [
        ("VideoUnreadable", hashlib.sha256(b"noise" * 100).hexdigest()), ("VideoNotFound", None),
    ]  # fmt: skip
    assert [(row.error_type, row.sha256) for row in there] == [(row.error_type, row.sha256) for row in here]


class Refusing(Spoken):
    """A server that finds no video in what is sent."""

    def answers(self, path: str, *given: object) -> Iterator[Answered]:
        raise VideoUnreadable("noise", "a video", "look at it")
