"""A bulk job answered by an endpoint: one row for each question, resumed like any other, ended by what is the endpoint's fault."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.profile import load_profile
from ray_jobs.annotate.remote import annotate_at
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings
from serve.client import Answered
from serve.contract import Ask, VideoFacts
from tests.unit.media.clips import encode
from tests.unit.serve.canned import answer_of
from vglamm import annotation
from vglamm.answer import Answer
from vglamm.errors import (
    AnswerTooSlow,
    ConfigError,
    EnvironmentProblem,
    ModelUnknown,
    Overloaded,
    SessionGone,
    Unauthorised,
    VglammError,
    VideoUnreadable,
)

TOKENS = 7


class Spoken:
    """Answers by itself. fail: raised or given for what is named so. breaks: raised at what is named so."""

    at_once = 2
    tokens: int | None = TOKENS

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.options: list[Mapping[str, Any]] = []
        self.fail: dict[str, VglammError] = {}
        self.breaks: dict[str, VglammError] = {}
        self.left = False

    def identity(self) -> str:
        return "canned"

    def leave(self) -> None:
        self.left = True

    def answers(self, path: str, questions: Sequence[str], options: Mapping[str, Any]) -> Iterator[Answered | VglammError]:
        name = Path(path).name
        self.options.append(options)
        if name in self.fail:
            raise self.fail[name]
        for question in questions:
            self.asked.append((name, question))
            if question in self.breaks:
                raise self.breaks[question]
            asked = Ask("videos/x", question, source="upload")
            answer = answer_of(asked, VideoFacts((32, 48), 3, 1.0, 3.0))
            yield self.fail.get(question) or Answered(answer, None, 0, "v", 0.1, 0.2, self.tokens)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        encode(folder / f"clip-{number}.mp4", numbers=range(3), rate=3, size=(48, 32))
    (folder / "empty.mp4").touch()
    (folder / "notes.txt").write_text("not a video")
    return folder


def job_of(videos: Path, out: Path, model: str = "canned") -> BulkJob:
    settings = Settings("tiny", {"fps": 2.0}, "frames", 7)
    return BulkJob(read_manifest(str(videos), ("who?", "and?")), settings, load_profile("laptop"), str(out), part=2, model=model)


def test_each_question_of_each_input_is_one_row(videos: Path, tmp_path: Path) -> None:
    endpoint, told = Spoken(), []
    endpoint.fail = {"clip-1.mp4": VideoUnreadable("a", "b", "c")}
    summary = annotate_at(job_of(videos, tmp_path / "out"), endpoint, told.append)
    rows = list(annotation.read(tmp_path / "out"))
    assert [(row.position, row.status) for row in rows] == list(
        enumerate(["ok", "ok", "failed", "failed", "ok", "ok", "failed", "failed", "skipped", "skipped"])
    )
    assert [row.id for row in rows[:2]] == ["clip-0.mp4", "clip-0.mp4#2"]
    assert {row.error_type for row in rows if row.status == "failed"} == {"VideoUnreadable"}
    for row in rows:
        if row.answer is not None:
            assert (row.answer.source, row.answer.question) == (row.uri, row.question)
            assert row.sha256 is not None
    assert {tuple(sorted(options.items())) for options in endpoint.options} == {
        (("fps", 2.0), ("max_new_tokens", 7), ("mode", "frames"))
    }
    assert summary.rows == {"failed: VideoUnreadable": 4, "ok": 4, "skipped": 2}
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    stage = told[-1].to_tree()["stages"]["endpoint"]
    assert (stage["done"], stage["queued"], stage["failed"]) == (4, 0, 2)
    assert (told[-1].done, told[-1].videos) == (4, 4), "what is skipped is no work that is left"
    run = summary.to_tree()["this_run"]
    assert (run["tokens"], run["per_second"]["tokens"]) == (4 * TOKENS, pytest.approx(4 * TOKENS / run["seconds"], rel=0.05))
    assert summary.to_tree()["stages"]["endpoint"]["per_second"]["tokens"] > 0
    assert run["masks"] > 0
    assert run["per_second"]["masks"] > 0
    again = annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None)
    assert (again.done, len(endpoint.asked)) == (0, 4)
    assert list(annotation.read(tmp_path / "out")) == rows


def test_tokens_that_an_endpoint_does_not_tell_are_not_made_up(videos: Path, tmp_path: Path) -> None:
    endpoint = Spoken()
    endpoint.tokens = None
    run = annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None).to_tree()["this_run"]
    assert (run["tokens"], run["per_second"]["tokens"]) == (None, None)


def test_a_question_that_fails_fails_alone(videos: Path, tmp_path: Path) -> None:
    endpoint = Spoken()
    endpoint.fail = {"and?": AnswerTooSlow("silence", "an answer", "ask for less")}
    annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None)
    rows = [row for row in annotation.read(tmp_path / "out") if row.video.startswith("clip")]
    assert [row.error_type for row in rows] == [None, "AnswerTooSlow"] * 3
    assert all(row.error is None or "ask for less" in row.error for row in rows)


def test_what_was_answered_before_a_video_failed_stays(videos: Path, tmp_path: Path) -> None:
    endpoint = Spoken()
    endpoint.breaks = {"and?": SessionGone("a", "b", "c")}
    annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None)
    rows = [row for row in annotation.read(tmp_path / "out") if row.video.startswith("clip")]
    assert [row.error_type for row in rows] == [None, "SessionGone"] * 3


@pytest.mark.parametrize("kind", [EnvironmentProblem, Unauthorised, ModelUnknown, Overloaded])
def test_the_endpoints_own_troubles_end_the_job_which_goes_on_later(videos: Path, tmp_path: Path, kind: type[VglammError]) -> None:
    endpoint = Spoken()
    endpoint.fail = {"clip-2.mp4": kind("no answer", "one", "start it")}
    with pytest.raises(kind):
        annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None)
    assert endpoint.left, "answers to the other videos are not waited for"
    endpoint.fail = {}
    summary = annotate_at(job_of(videos, tmp_path / "out"), endpoint, lambda progress: None)
    assert summary.rows == {"failed: VideoUnreadable": 2, "ok": 6, "skipped": 2}


def test_an_endpoint_that_is_started_anew_with_another_model_ends_the_job(videos: Path, tmp_path: Path) -> None:
    class Renewed(Spoken):
        def answers(self, path: str, *given: Any) -> Iterator[Answered | VglammError]:
            for said in super().answers(path, *given):
                assert isinstance(said, Answered)
                other = replace(said, answer=replace(said.answer, model="other"))
                yield other if Path(path).name == "clip-2.mp4" else said

    with pytest.raises(EnvironmentProblem, match=r"answers of other from the endpoint; expected the model.*canned"):
        annotate_at(job_of(videos, tmp_path / "out"), Renewed(), lambda progress: None)
    assert annotate_at(job_of(videos, tmp_path / "out"), Spoken(), lambda progress: None).rows["ok"] == 6
    assert {row.answer.model for row in annotation.read(tmp_path / "out") if row.answer is not None} == {"canned"}


def test_the_folder_is_that_of_a_run_with_the_model_here(videos: Path, tmp_path: Path) -> None:
    job = job_of(videos, tmp_path / "out")
    annotate_at(job, Spoken(), lambda progress: None)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["model"] == "canned"
    with pytest.raises(ConfigError, match="another run"):
        annotate_at(replace(job, model="other"), Spoken(), lambda progress: None)


def test_what_is_written_is_forgotten(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", numbers=range(3), rate=3, size=(48, 32))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"uri": "clip.mp4", "id": f"{n}"}) + "\n" for n in range(40)))
    alive: list[int] = []
    kept: list[weakref.ref[Answer]] = []

    class Kept(Spoken):
        def answers(self, *given: Any) -> Iterator[Answered | VglammError]:
            for said in super().answers(*given):
                assert isinstance(said, Answered)
                kept.append(weakref.ref(said.answer))
                alive.append(sum(one() is not None for one in kept))
                yield said

    annotate_at(job_of(tmp_path / "t.jsonl", tmp_path / "out"), Kept(), lambda progress: None)
    assert len(kept) == 80
    assert max(alive) <= 20, "rows of the videos in flight, whatever the length of the job"


def test_a_folder_of_frames_is_sent_as_a_file_and_told_by_its_own_times(tmp_path: Path) -> None:
    from vglamm.media.read import open_video
    from vglamm.places import sha256

    folder, sent = tmp_path / "frames", []
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((32, 48, 3), 80 * number, np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "t.jsonl").write_text(json.dumps({"uri": str(folder), "source_fps": 7.0}) + "\n")

    class Seen(Spoken):
        def answers(self, path: str, *given: Any) -> Iterator[Answered | VglammError]:
            sent.append(open_video(path).frames_at(range(3))[:, 0, 0, 0].tolist())
            return super().answers(path, *given)

    endpoint = Seen()
    annotate_at(job_of(tmp_path / "t.jsonl", tmp_path / "out"), endpoint, lambda progress: None)
    rows = list(annotation.read(tmp_path / "out"))
    assert [row.status for row in rows] == ["ok", "ok"]
    assert sent == [[0, 80, 160]]
    assert "source_fps" not in endpoint.options[0]
    for row in rows:
        assert row.answer is not None
        assert row.sha256 == sha256(folder)
        assert row.answer.source == str(folder)
        assert row.answer.sampling.source_fps == 7.0
        assert row.answer.sampling.grounding_times == tuple(i / 7.0 for i in row.answer.sampling.grounding_indices)
