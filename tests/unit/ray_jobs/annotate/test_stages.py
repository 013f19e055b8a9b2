"""One bad item fails alone, whatever it raises; nothing that a stage does ends its actor."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.annotate.fill import parcel_of
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.parcel import Parcel
from ray_jobs.annotate.pools import UNWRITTEN, Actor
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.remote import rows_from
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Decode, Settings, guarded, rows_of
from serve.client import Answered
from tests import fakes
from tests.unit.media.clips import encode
from tests.unit.ray_jobs.annotate.test_remote import Spoken
from tests.unit.test_annotation import an_annotation
from vglamm.annotation import Annotation
from vglamm.errors import VideoUnreadable
from vglamm.places import Place


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


@pytest.mark.parametrize(
    ("run", "own", "options"),
    [
        ({"every_frame": True}, {"fps": 2.0}, {"fps": 2.0}),
        ({"fps": 2.0}, {"every_frame": True}, {"every_frame": True}),
        ({"fps": 2.0, "limit": 9}, {"fps": 3.0, "start": 1.0}, {"fps": 3.0, "limit": 9, "start": 1.0}),
        ({"every_frame": True}, {"limit": 9}, {"every_frame": True, "limit": 9}),
        ({"fps": 2.0}, {"every_frame": False}, {"fps": 2.0, "every_frame": False}),
    ],
)
def test_the_sampling_of_a_row_goes_before_that_of_the_run(
    tmp_path: Path, run: dict[str, Any], own: dict[str, Any], options: dict[str, Any]
) -> None:
    settings = Settings("m", run)
    assert settings.options(own) == options
    encode(tmp_path / "a.mp4", numbers=range(3), rate=3, size=(48, 32))
    (tmp_path / "t.jsonl").write_text(json.dumps({"uri": "a.mp4", **own}) + "\n")
    job = BulkJob(
        read_manifest(str(tmp_path / "t.jsonl"), ["who?"]), settings, load_profile("laptop"), str(tmp_path), model="canned"
    )
    endpoint = Spoken()
    rows_from(job.manifest.jobs[0], job, endpoint)
    assert endpoint.options == [options | {"mode": "video", "max_new_tokens": None}]


@pytest.mark.parametrize(("run", "own", "end"), [({}, {}, 1.0), ({"end": 0.5}, {}, 0.5), ({"end": 0.5}, {"end": 0.75}, 0.75)])
def test_what_was_looked_at_ends_where_it_was_to_end(tmp_path: Path, run: dict[str, Any], own: dict[str, Any], end: float) -> None:
    (tmp_path / "config.json").write_text(fakes.config().to_json())
    encode(tmp_path / "a.mp4", numbers=range(4), rate=4, size=(48, 32))
    parcel = Parcel(0, {"id": "a", "uri": str(tmp_path / "a.mp4"), "own_sampling": own})
    [decoded] = Decode(Settings(str(tmp_path), run))([parcel])
    assert decoded.plain["end"] == pytest.approx(end)


class Refusing(Spoken):
    """A server that finds no video in what is sent."""

    def answers(self, path: str, *given: object) -> Iterator[Answered]:
        raise VideoUnreadable("noise", "a video", "look at it")


class Elsewhere(Actor):
    """A pixel actor on a node with a disk of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.shared, self.where = ledger, False, {"node": "b", "pid": 1}

    def _rows(self, parcel: Parcel) -> tuple[Parcel, list[Annotation]]:
        return parcel, [an_annotation(position=parcel.position)]

    def _note(self, *_: object) -> None:
        pass


def test_rows_are_not_left_on_a_disk_that_the_driver_does_not_see(tmp_path: Path) -> None:
    ledger = Ledger(Place.of(tmp_path / "out"), 2)
    plain: dict[str, Any] = {"replies": [], "timings": {}}
    receipts = Elsewhere(ledger)._grounded([Parcel(3, plain)])
    assert "does not share" in json.loads(receipts.column("told")[0].as_py())[UNWRITTEN][0]
    assert not (tmp_path / "out").exists()
    ledger.claim({})
    receipts = Elsewhere(ledger)._grounded([Parcel(3, plain)])
    assert json.loads(receipts.column("told")[0].as_py())["rows"] == 1
    assert (tmp_path / "out" / "rows" / "00000003.parquet").is_file()
