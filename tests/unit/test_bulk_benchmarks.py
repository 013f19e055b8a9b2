"""What the benchmarks and long checks of bulk annotation are made of: they measure what they say, and see what they are to see."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import vglamm
from benchmarks import driver_memory, rle
from benchmarks.bulk import kills, poison
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.job import rows_there
from benchmarks.bulk.kills import Killer
from benchmarks.bulk.model import SENTENCE, resolved, stand_in
from benchmarks.bulk.undisturbed import Calm, counted, joined
from benchmarks.report import Section
from benchmarks.soak import __main__ as soak
from benchmarks.soak.driver_kills import finished, rewritten
from ray_jobs.annotate.board import Note, Tally
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.summary import Progress
from tests.unit.test_annotation import an_annotation
from vglamm.annotation import Annotation
from vglamm.errors import CheckpointError, VideoError
from vglamm.media.guarded import GuardedSource, open_guarded
from vglamm.media.limits import Limits
from vglamm.media.read import open_video
from vglamm.places import Place


def test_a_stand_in_says_one_sentence_and_grounds_it(tmp_path: Path) -> None:
    [clip] = write_clips(tmp_path / "videos", 1, frames=8)
    answer = vglamm.load(stand_in(tmp_path / "model", frames=8)).ask(clip, "Describe the video.", every_frame=True)
    assert answer.raw == SENTENCE
    [track] = answer.tracks
    assert all(mask is not None for mask in track.rle), "an absent object would cost nothing"


def test_a_checkpoint_is_taken_as_it_is_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        resolved(str(tmp_path / "nothing"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_masks_are_compared_with_a_byte_for_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rle.percent([{"size": [10, 10], "counts": "abcde"}, None], 100) == [5.0]
    monkeypatch.setattr(rle.vglamm, "load", lambda _: (_ for _ in ()).throw(CheckpointError("none", "weights", "train them")))
    section = rle.run(rounds=1, videos=1, frames=8, side=128)
    assert "Not measured here" in section.how, "what is left out is said"
    assert 0 < section.rows[0].found.median < 5


def test_the_driver_is_measured_early_and_late() -> None:
    looks = [(0, 500.0), (10, 100.0), (19, 110.0), (50, 300.0), (90, 115.0), (100, 121.0)]
    assert driver_memory.growth(looks, 100) == pytest.approx(1.1)
    with pytest.raises(SystemExit, match="too few"):
        driver_memory.growth(looks[:4], 100)
    assert 20 < driver_memory.held_mb() < 50_000


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Process ids in place of their deaths; all up to 10 are there."""
    found: list[int] = []
    monkeypatch.setattr(kills.os, "kill", lambda pid, number: found.append(pid) if number == signal.SIGKILL else None)
    monkeypatch.setattr(kills.Path, "exists", lambda path: int(path.name) <= 10)
    return found


def progress(done: int, **pids: tuple[int, ...]) -> Progress:
    stages: dict[str, Tally] = {name: Tally() for name in pids}
    for name, tally in stages.items():
        for pid in pids[name]:
            tally.add(Note(name, "node", pid, 1, 0, 1.0, 1.0))
    return Progress(60, done, 0, stages, 1.0)


def test_a_kill_waits_for_a_row_and_for_the_actor_that_comes_after(killed: list[int]) -> None:
    killer = Killer(("decode",), times=2)
    killer(progress(0, decode=(1,)))
    assert killed == [], "no row has finished"
    killer(progress(1, decode=(1,), pixel=(9,)))
    killer(progress(1, decode=(1, 2)))
    assert killed == [1], "no row has finished since"
    killer(progress(2, decode=(1,)))
    killer(progress(2, decode=(1, 99)))
    assert killed == [1], "the dead and the gone are no whole pool"
    killer(progress(3, decode=(1, 2)))
    killer(progress(4, decode=(1, 2, 3)))
    assert (killed, killer.done) == ([1, 2], [1, 3]), "and no more than asked for"


BEFORE_FRAMES = [kind for kind in poison.SIX if kind != poison.SEGFAULTS]


@pytest.mark.parametrize("kind", BEFORE_FRAMES)
def test_spoilt_files_are_refused_for_their_reason(tmp_path: Path, kind: str) -> None:
    [good] = write_clips(tmp_path / "videos", 1, frames=8)
    name = poison.spoil(tmp_path, kind, good, "clip-0001-")
    assert name.startswith("clip-0001-")
    with pytest.raises(VideoError) as error:
        open_guarded(tmp_path / name).frames_at([0])
    assert type(error.value).__name__ == poison.REASONS[kind]


@pytest.mark.parametrize(("crashes", "kind"), [(True, poison.SEGFAULTS), (False, poison.HANGS)])
def test_a_doomed_decoder_is_refused_for_its_reason(tmp_path: Path, crashes: bool, kind: str) -> None:
    [good] = write_clips(tmp_path / "videos", 1, frames=8)
    source = GuardedSource(poison.Doomed(open_video(good), crashes=crashes), Limits(stall_seconds=1))
    with pytest.raises(VideoError, match="SIGSEGV" if crashes else "gave nothing") as error:
        source.frames_at([0])
    assert type(error.value).__name__ == poison.REASONS[kind]


def test_what_is_there_twice_lost_or_different_is_counted(tmp_path: Path) -> None:
    calm = Calm(tmp_path, 3, 4, "model", "a model", [row(0), row(1), row(2)], 1.0, tmp_path)
    write(tmp_path / "same", row(0), row(1), row(2))
    assert [one.found.median for one in calm.compared(tmp_path / "same")] == [0, 0, 0]
    write(tmp_path / "lost", row(0), row(2))
    assert [one.found.median for one in calm.compared(tmp_path / "lost")] == [1, 0, 2]
    write(tmp_path / "twice", row(0), row(1), row(1), row(2))
    assert [one.found.median for one in calm.compared(tmp_path / "twice")] == [0, 1, 1]
    write(tmp_path / "changed", row(0), row(1, question="why?"), row(2))
    assert [(one.found.median, one.reached) for one in calm.compared(tmp_path / "changed")] == [(0, True), (0, True), (1, False)]


def row(position: int, **changed: str) -> Annotation:
    made = an_annotation(id=f"v{position}", position=position, **changed)
    assert made.answer is not None
    made.answer.timings.clear()
    return made


def write(folder: Path, *rows: Annotation) -> None:
    ledger = Ledger(Place.of(folder), len(rows))
    for place, one in enumerate(rows):
        ledger.write(place, [one])
    assert rows_there(folder, len(rows)) == len(rows)
    ledger.close_part(0, range(len(rows)))
    assert rows_there(folder, len(rows)) == len(rows)


def test_a_finished_file_that_is_written_again_is_seen(tmp_path: Path) -> None:
    for name in ("rows/00000000.parquet", "rows/00000001.parquet", "rows/.partial.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    before = finished(tmp_path)
    assert set(before) == {"rows/00000000.parquet", "rows/00000001.parquet"}
    (tmp_path / "rows/00000000.parquet").unlink()
    (tmp_path / "part-00000.parquet").touch()
    assert rewritten(before, finished(tmp_path)) == 0, "joined into a part"
    os.utime(tmp_path / "rows/00000001.parquet", ns=(1, 1))
    assert rewritten(before, finished(tmp_path)) == 1


def test_counts_of_several_jobs_are_summed() -> None:
    [lost, kept] = joined(
        [(counted("lost", 1, at_most=0), counted("kept", 2)), (counted("lost", 0, at_most=0), counted("kept", 3))]
    )
    assert (lost.what, lost.found.median, lost.reached) == ("lost", 1, False)
    assert (kept.found.median, kept.goal) == (5, "none: reported")


def test_subjects_are_found_and_a_missed_goal_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"driver_kills", "actor_kills", "lost_node", "poison"} <= set(soak.subjects())
    asked = []

    def subject(count: int):  # type: ignore[no-untyped-def]
        def one(*, model: str, short: bool) -> Section:
            asked.append((model, short))
            return Section("Title", "How.", (counted("rows lost", count, at_most=0),))

        return one

    monkeypatch.setattr(soak, "subjects", lambda: {"good": subject(0), "bad": subject(2)})
    assert soak.main(["--only", "good", "--short", "--model", "m"]) == 0
    assert soak.main([]) == 1
    assert soak.main(["--no-goals"]) == 0
    assert asked[:2] == [("m", True), ("tiny", False)]
    assert "goals missed: rows lost" in capsys.readouterr().out
