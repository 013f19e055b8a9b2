"""What stands between the command line and a bulk job: shares, questions by name, what is shown while it runs and at its end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ray.exceptions import RayActorError
from rich.console import Console

from ray_jobs.annotate import front
from ray_jobs.annotate.board import Note, Tally
from ray_jobs.annotate.front import Asked, drive, named_questions, table, told
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings
from ray_jobs.annotate.summary import Progress, Summary
from ray_jobs.tracking import JobBooks
from tests import fakes
from tests.unit.ray_jobs.annotate.test_remote import Spoken
from vglamm.errors import ConfigError, EnvironmentProblem


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A config is all that is read of it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(fakes.config().to_json())
    return str(tmp_path / "model")


def asked(tmp_path: Path, model: str, **changed: object) -> Asked:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).touch()
    values = {"questions": ("who?",), "named": None, "profile": "laptop"} | changed
    return Asked(str(tmp_path / "videos"), str(tmp_path / "out"), settings=Settings(model, {}), **values)  # type: ignore[arg-type]


def tally(stage: str, *ends: float, seconds: float = 1.0) -> Tally:
    found = Tally()
    for at in ends:
        found.add(Note(stage, "node", 1, 1, 0, seconds, at))
    return found


def test_named_questions_are_asked_after_ones_own(tmp_path: Path, model: str) -> None:
    manifest = asked(tmp_path, model, named="segment: cat, dog").manifest()
    questions = manifest.jobs[0].questions
    assert len(questions) == 3
    assert questions[0] == "who?"
    assert ["cat" in questions[1], "dog" in questions[2]] == [True, True]
    assert len(asked(tmp_path, model, named="describe", questions=()).manifest().jobs[0].questions) == 1


@pytest.mark.parametrize("name", ["segment", "segment:", "describe:cat", "count"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="describe, or segment:"):
        named_questions(name, "phi3")


def test_an_endpoint_is_asked_in_the_words_of_its_own_model(tmp_path: Path, model: str) -> None:
    def question(answers: str | None) -> str:
        [one] = asked(tmp_path, model, named="describe", questions=()).manifest(answers).jobs[0].questions
        return one

    assert question("tiny@0123") == front.TINY_DESCRIBE
    assert question("phi3@0123") == question(None) != front.TINY_DESCRIBE


def test_a_limit_takes_the_first_videos(tmp_path: Path, model: str) -> None:
    assert [job.id for job in asked(tmp_path, model, limit=2).manifest().jobs] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(("given", "shares"), [(None, (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8))])
def test_a_share_is_read(tmp_path: Path, model: str, given: str | None, shares: tuple[int, int]) -> None:
    assert asked(tmp_path, model, shard=given).shares() == shares


def test_a_share_without_videos_ends_well_and_is_tracked(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(JobBooks, "keep", lambda self, *kept: told.append("kept"))
    empty, console = asked(tmp_path, model, shard="2/2"), Console(file=io.StringIO())
    done = front.run(empty, address=None, tracking="local", console=console, endpoint=Spoken(), show=told.append)
    assert (done.rows, done.failed_share, told) == ({}, 0.0, [done, "kept"])


def test_books_that_cannot_be_opened_are_told_before_anything_is_asked(tmp_path: Path, model: str) -> None:
    endpoint, console = Spoken(), Console(file=io.StringIO())
    with pytest.raises(EnvironmentProblem, match=r"a folder is written sqlite:///FOLDER/mlflow\.db"):
        front.run(asked(tmp_path, model), address=None, tracking=f"file:{tmp_path}", console=console, endpoint=endpoint, show=print)
    assert endpoint.asked == []


@pytest.mark.parametrize("given", ["0/2", "3/2", "2", "a/b", "-1/2", "/"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, model: str, given: str) -> None:
    with pytest.raises(ConfigError, match="1 <= i <= n"):
        asked(tmp_path, model, shard=given).shares()


def test_a_terminal_gets_a_table_of_the_stages() -> None:
    progress = Progress(10, 2, 1, {"decode": tally("decode", 101, 102, 103), "pixel": tally("pixel", 103, 104)}, 8.0)
    out = io.StringIO()
    Console(file=out, width=100).print(table(progress))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert out.getvalue().startswith("2 of 10 videos, 8.0 s, about 32.0 s left")
    assert ["decode", "3", "7", "0", "1.00"] in [[word for word in line if word not in "│┃"] for line in lines]


def test_what_is_done_twice_is_no_queue_of_less_than_nothing() -> None:
    progress = Progress(3, 2, 0, {"decode": tally("decode", 1, 2), "vision": tally("vision", 1, 2, 3)}, 4.0)
    assert {name: stage["queued"] for name, stage in progress.to_tree()["stages"].items()} == {"decode": 1, "vision": 0}


def test_elsewhere_a_line_of_json_comes_every_half_minute_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(front.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with front._display(Console(file=out)) as watch:
        for second in range(75):
            now[0] = float(second)
            watch(Progress(10, second // 10, 0, {}, now[0]))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["seconds"] for line in lines] == [30.0, 60.0, 74.0]
    assert lines[-1]["left_seconds"] == pytest.approx(74 / 7 * 3, abs=0.1)


@pytest.fixture
def on_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | Summary], None]:
    """A pretended Ray of one node without labels, on which a job ends as it is told."""
    monkeypatch.setattr("ray_jobs.annotate.run.connect", lambda address: None)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Labels": {}, "Resources": {"CPU": 2.0}}])

    def ends(how: Exception | Summary) -> None:
        def annotate(*_: object) -> Summary:
            if isinstance(how, Exception):
                raise how
            return how

        monkeypatch.setattr("ray_jobs.annotate.run.annotate", annotate)

    return ends


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (EnvironmentProblem("a folder that is full", "room", "make some"), "a folder that is full"),
        (
            RayActorError(error_msg="The actor died.\nCheckpointError: no weights"),
            r"a Ray that failed \(RayActorError: Check.*no weights",
        ),
    ],
)
def test_a_ray_that_fails_is_an_error_of_ours(
    tmp_path: Path, model: str, on_ray: Callable[[Exception | Summary], None], end: Exception, told: str
) -> None:
    on_ray(end)
    job = BulkJob(asked(tmp_path, model).manifest(), Settings(model, {}), load_profile("laptop"), str(tmp_path / "out"))
    with pytest.raises(EnvironmentProblem, match=told):
        drive(job, address=None, console=Console(file=io.StringIO()))
    on_ray(summary())
    assert drive(job, address=None, console=Console(file=io.StringIO())).done == 2
    with pytest.raises(ConfigError, match="without a node labelled"):
        drive(
            replace(job, profile=replace(load_profile("cluster"), elastic=False)), address=None, console=Console(file=io.StringIO())
        )


def summary() -> Summary:
    """Two videos, one of which failed, through stages that worked half of their time and all of it."""
    found = Summary("hash", "config", "laptop", videos=3, before=1)
    where = {"node": "n" * 20, "pid": 7, "gpus": [], "gpu_share": 0.0, "device": "cpu"}
    counts = {"rows": 2, "failed": 0, "phrases": 2, "seen": 8, "tokens": 30, "frames": 40, "masks": 80}
    found.add(counts | {"timings": {"pixel": 4.0}, "where": {"pixel": where}})
    found.lose(2)
    found.tallies = {"vision": tally("vision", 11, 14), "pixel": tally("pixel", 14, seconds=4.0)}
    found.finish({"failed: WorkerLost": 2, "ok": 4})
    found.seconds = 10.0
    return found


def test_a_summary_tells_throughput_and_what_each_stage_waited() -> None:
    tree = summary().to_tree()
    assert tree["failed_share"] == pytest.approx(2 / 6, abs=1e-6)
    assert {name: tree["this_run"][name] for name in ("videos", "done_before", "rows", "failed")} == {
        "videos": 2, "done_before": 1, "rows": 4, "failed": 2,
    }  # fmt: skip
    assert tree["this_run"]["per_second"] == {"frames": 4.0, "tokens": 3.0, "masks": 8.0, "videos": 0.2}
    assert tree["stages"]["vision"]["waiting"] == 0.8, "it worked from 10 to 11 and from 13 to 14, of a run of 10 s"
    assert tree["stages"]["vision"]["per_second"] == {"seen": 2.0}
    assert tree["stages"]["pixel"]["waiting"] == 0.6
    assert tree["stages"]["pixel"]["per_second"] == {"frames": 10.0, "masks": 20.0}
    assert [worker["stage"] for worker in tree["workers"]] == ["pixel"]


def test_what_is_skipped_is_told_by_name_and_by_ending() -> None:
    names = tuple(f"/v/{name}" for name in ("a.srt", "b.srt", "c.SRT", "d.pdf", "[e].nfo", "f.txt", "g.txt"))
    skipping, out = replace(summary(), skipped=names), io.StringIO()
    assert skipping.to_tree()["skipped"] == {
        "count": 7, "endings": {".srt": 3, ".txt": 2, ".pdf": 1, ".nfo": 1}, "names": list(names),
    }  # fmt: skip
    Console(file=out, width=200).print(told(skipping))
    assert "7 that are no video by their names (3 .srt, 2 .txt, 1 .pdf, 1 .nfo)" in out.getvalue()
    assert "a.srt, b.srt, c.SRT, d.pdf, [e].nfo and 2 more" in out.getvalue()
    many = replace(skipping, skipped=tuple(f"{number}.txt" for number in range(1000)))
    assert (many.to_tree()["skipped"]["count"], len(many.to_tree()["skipped"]["names"])) == (1000, 100)


def test_the_end_is_told_in_three_lines() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(told(summary()))
    assert "2 failed: WorkerLost, 4 ok" in out.getvalue()
    assert "1 were done before" in out.getvalue()
    assert "8 masks/s" in out.getvalue()
