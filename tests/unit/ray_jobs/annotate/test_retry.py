"""Failed rows are asked once more, each once: answered rows stay, and whatever is killed leaves every id once."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ray_jobs.annotate import remote
from ray_jobs.annotate.forecast import forecast
from ray_jobs.annotate.front import told
from ray_jobs.annotate.ledger import Ledger
from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.remote import annotate_at
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings
from tests.unit.media.clips import encode
from tests.unit.ray_jobs.annotate.test_forecast import asked_of
from tests.unit.ray_jobs.annotate.test_remote import Spoken
from tests.unit.test_annotation import an_annotation
from vglamm import annotation
from vglamm.annotation import Annotation
from vglamm.errors import DialogueError, EnvironmentProblem, VideoUnreadable
from vglamm.places import Place

BROKEN = VideoUnreadable("a", "b", "c")


class Picky(Spoken):
    """One at a time. odd: questions that fail, by the names of their videos."""

    at_once = 1

    def __init__(self, *odd: tuple[str, str]) -> None:
        super().__init__()
        self.odd = odd

    def answers(self, path: str, *given: Any) -> Iterator[Any]:
        for said in super().answers(path, *given):
            yield DialogueError("odd", "even", "ask") if (Path(path).name, self.asked[-1][1]) in self.odd else said


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    encode(folder / "clip-0.mp4", numbers=range(3), rate=3, size=(48, 32))
    for number in range(1, 5):
        shutil.copy(folder / "clip-0.mp4", folder / f"clip-{number}.mp4")
    return folder


def job_of(videos: Path, out: Path, retry: bool = False) -> BulkJob:
    settings = Settings("tiny", {"fps": 2.0})
    manifest = read_manifest(str(videos), ("who?", "and?"))
    return BulkJob(manifest, settings, load_profile("laptop"), str(out), part=2, model="canned", retry=retry)


def quiet(job: BulkJob, endpoint: Spoken) -> Any:
    return annotate_at(job, endpoint, lambda progress: None)


def failing() -> Picky:
    """Of five videos one fails, and one question about each of two others."""
    endpoint = Picky(("clip-0.mp4", "and?"), ("clip-4.mp4", "who?"))
    endpoint.fail = {"clip-1.mp4": BROKEN}
    return endpoint


FAILED = [("clip-0.mp4", "and?"), ("clip-1.mp4", "who?"), ("clip-1.mp4", "and?"), ("clip-4.mp4", "who?")]


def test_only_failed_rows_are_asked_again_and_only_when_it_is_said(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = quiet(job_of(videos, out), failing())
    assert first.rows == {"failed: DialogueError": 2, "failed: VideoUnreadable": 2, "ok": 6}
    before = list(annotation.read(out))
    plain = Picky()
    assert (quiet(job_of(videos, out), plain).done, plain.asked) == (0, [])
    again = Picky(("clip-4.mp4", "who?"))
    summary = quiet(job_of(videos, out, retry=True), again)
    assert again.asked == FAILED
    assert summary.rows == {"failed: DialogueError": 1, "ok": 9}
    assert {name: summary.to_tree()["this_run"][name] for name in ("videos", "done_before", "rows", "failed")} == {
        "videos": 3, "done_before": 2, "rows": 4, "failed": 1,
    }  # fmt: skip
    after = list(annotation.read(out))
    assert [(row.id, row.position) for row in after] == [(row.id, row.position) for row in before]
    assert [new for old, new in zip(before, after, strict=True) if old.status == "ok"] == [
        row for row in before if row.status == "ok"
    ]
    assert not list((out / "again").iterdir())
    last = Picky()
    assert quiet(job_of(videos, out, retry=True), last).rows == {"ok": 10}
    assert last.asked == [("clip-4.mp4", "who?")]


def test_what_is_missing_is_done_as_well(videos: Path, tmp_path: Path) -> None:
    endpoint, out = failing(), tmp_path / "out"
    endpoint.fail["clip-3.mp4"] = EnvironmentProblem("no answer", "one", "start it")
    with pytest.raises(EnvironmentProblem):
        quiet(job_of(videos, out), endpoint)
    assert sorted(path.name for path in (out / "rows").iterdir()) == ["00000002.parquet"], "its part waits for clip-3"
    assert quiet(job_of(videos, out, retry=True), Picky()).rows == {"ok": 10}


def test_what_is_answered_beside_the_end_of_a_run_is_kept(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_COMPLETED", ALL_COMPLETED)
    endpoint, out = Picky(), tmp_path / "out"
    endpoint.at_once = 2  # so that four wait at a time
    endpoint.fail["clip-0.mp4"] = EnvironmentProblem("no answer", "one", "start it")
    with pytest.raises(EnvironmentProblem):
        quiet(replace(job_of(videos, out), part=1), endpoint)
    assert [row.id for row in annotation.read(out)] == [f"clip-{n}.mp4{more}" for n in range(1, 4) for more in ("", "#2")]


class Killed(BaseException):
    """As a process dies: nothing catches it."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Dies before so many more files are written or deleted, which happens whole or not at all."""
    left = [1_000_000]

    def counted(act: Callable[..., None]) -> Callable[..., None]:
        def acting(*given: Any) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            act(*given)

        return acting

    for name in ("write", "delete"):
        monkeypatch.setattr(Place, name, counted(getattr(Place, name)))

    def after(acts: int) -> None:
        left[0] = acts

    return after


@pytest.mark.parametrize("cut", [False, True], ids=["parts", "rows"])
def test_killed_anywhere_every_id_is_there_once_and_old_rows_stand(
    videos: Path, tmp_path: Path, killed: Callable[[int], None], cut: bool
) -> None:
    first, endpoint = tmp_path / "first", failing()
    if cut:  # the last part is not whole: its failed rows are in a file of their own
        job = replace(job_of(videos, first), part=5)
        endpoint.fail["clip-2.mp4"] = EnvironmentProblem("no answer", "one", "start it")
        with pytest.raises(EnvironmentProblem):
            quiet(job, endpoint)
    else:
        job = job_of(videos, first)
        quiet(job, endpoint)
    before, acts, kills = rows_in(first), 0, 0
    ids = [f"clip-{n}.mp4{more}" for n in range(5) for more in ("", "#2")]
    while True:
        out, again = tmp_path / f"out-{acts}", Picky()
        shutil.copytree(first, out)
        there = replace(job, out=str(out), retry=True)
        killed(acts)
        try:
            quiet(there, again)
            break
        except Killed:
            kills += 1
        killed(1_000_000)
        now = rows_in(out)
        assert [row.id for row in now] in ([row.id for row in before], ids)
        if before:
            assert all(new == old or (old.status, new.status) == ("failed", "ok") for old, new in zip(before, now, strict=True))
        rest = Picky()
        assert quiet(there, rest).rows == {"ok": 10}
        assert [row.id for row in rows_in(out)] == ids
        assert len(set(rest.asked)) == len(rest.asked)
        twice = {video for video, _ in set(rest.asked) & set(again.asked)}
        assert len(twice) <= 2, "the one that was to be written, and the one that was asked meanwhile"
        acts += 1
    assert kills > 8


def rows_in(out: Path) -> list[Annotation]:
    """All that can be read, without times."""
    return list(annotation.read(out)) if list(out.glob("part-*")) else []


def test_a_retry_that_was_killed_counts_without_another(videos: Path, tmp_path: Path, killed: Callable[[int], None]) -> None:
    out = tmp_path / "out"
    quiet(job_of(videos, out), failing())
    killed(1)
    with pytest.raises(Killed):
        quiet(job_of(videos, out, retry=True), Picky())
    killed(1_000_000)
    plain = Picky()
    assert quiet(job_of(videos, out), plain).rows == {"failed: DialogueError": 1, "failed: VideoUnreadable": 2, "ok": 7}
    assert plain.asked == []


def test_an_answered_row_is_never_replaced(tmp_path: Path) -> None:
    ledger = Ledger(Place.of(tmp_path / "out"), 2)
    failed = an_annotation(id="v1", position=1, status="failed", answer=None, error_type="VideoUnreadable", error="e")
    ledger.write(0, [an_annotation(id="v0", position=0)])
    ledger.write(1, [failed])
    ledger.close_part(0, [0, 1])
    assert ledger.failed([0, 1]) == {1}
    retry = replace(ledger, again=frozenset({0, 1}))
    assert (ledger.done([0, 1]), retry.done([0, 1])) == ({0, 1}, set())
    retry.write(0, [replace(failed, id="v0", position=0)])
    retry.write(1, [an_annotation(id="v1", position=1)])
    assert retry.done([0, 1]) == {0, 1}
    retry.settle([0, 1])
    assert list(annotation.read(tmp_path / "out")) == [an_annotation(id=f"v{n}", position=n) for n in (0, 1)]


def test_failed_rows_and_the_option_are_told(videos: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=160)
    asked = replace(asked_of(videos), out=str(tmp_path / "out"))
    job = BulkJob(asked.manifest("canned"), replace(asked.settings, dtype=None), load_profile("laptop"), asked.out, model="canned")
    console.print(told(quiet(job, failing())))
    assert "4 rows; the same command with --retry-failed asks them once more" in out.getvalue()
    console.print(forecast(asked, Picky()))
    assert "4 rows, not asked once more (--retry-failed)" in out.getvalue()
    assert "nothing is missing" in out.getvalue()
    endpoint = Picky()
    console.print(forecast(replace(asked, retry=True), endpoint))
    assert "4 rows, asked once more" in out.getvalue()
    assert endpoint.asked == FAILED[:3], "of two videos, only what had failed"
    console.print(told(quiet(replace(job, retry=True), Picky())))
    assert out.getvalue().count("the same command with --retry-failed") == 1
