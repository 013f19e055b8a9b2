"""`vglamm train`, `evaluate` and `convert`: words become the right call of their drivers, and results are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ray_jobs.evaluate.world import WorldTask
from ray_jobs.tracking import JobBooks
from ray_jobs.train.recipes import Recipe
from tests.unit.commands.conftest import Run
from tests.unit.metrics.test_world import scores
from vglamm import convert as conversion
from vglamm.answer import Answer
from vglamm.errors import DialogueError
from vglamm.metrics.world_report import summarise
from vglamm.presets import preset
from vglamm.records import Reply
from vglamm.walk import Session


def test_train_passes_recipe_changes_and_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray_jobs.train.run as driver

    asked: list[object] = []

    def train(source: str, overrides: list[str], *, local: bool, name: str | None) -> Path:
        asked.append((source, overrides, local, name))
        return tmp_path / "step-7"

    monkeypatch.setattr(driver, "train", train)
    assert run("train", "tiny-joint", "steps=7", "optimiser.lr=1e-4", "--name", "mine", "--local") == 0
    assert run("train", "tiny-joint") == 0
    assert asked == [("tiny-joint", ["steps=7", "optimiser.lr=1e-4"], True, "mine"), ("tiny-joint", [], False, None)]
    assert "step-7" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["2024", "1e5", "yes", "2024-05-06"])
def test_a_name_is_a_name_whatever_it_looks_like(name: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray_jobs.train.run as driver

    begun: list[Path] = []

    def here(recipe: Recipe) -> Path:
        begun.append(recipe.folder)
        return recipe.folder

    monkeypatch.setattr(driver, "run_local", here)
    assert run("train", "tiny-joint", "--name", name, "--local", f"storage={tmp_path}") == 0
    assert begun == [tmp_path / name]
    assert run("train", "tiny-joint", "--name", "it's", "--local", f"storage={tmp_path}") == 2
    assert run("train", "tiny-joint", "--name", "", "--local", f"storage={tmp_path}") == 2
    assert len(begun) == 1


def test_train_refuses_an_unknown_recipe_and_an_unknown_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "no-such", "--local") == 2
    assert "tiny-joint" in capsys.readouterr().err
    assert run("train", "tiny-joint", "stepz=7", "--local") == 2
    assert "stepz" in capsys.readouterr().err


def test_evaluate_scores_both_mask_modes_and_keeps_the_report(
    taught: list, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "report.json"
    assert run("evaluate", "world", "--seed", 5, "--count", 2, "--difficulty", "easy", "--json", target) == 0
    shown = capsys.readouterr().out
    report = json.loads(target.read_text())
    assert report["task"] == {"seed": 5, "count": 2, "level": None, "difficulty": "easy", "controls": True}
    everything = report["video"]["groups"][0]["metrics"]["miou_everything"]
    assert "video" in shown
    assert "anchor" in shown
    assert everything is None or f"{everything['mean']:.2f}" in shown
    assert taught == [("tiny", {"device": "cpu"})]


def test_evaluate_world_writes_the_same_report_twice_and_tells_mlflow(
    taught: list, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate_world(walk: object, task: WorldTask, on_clip: object) -> dict[str, Any]:
        parts = {"video": summarise(scores()), "anchor": summarise(scores())}
        return {"task": asdict(task), "model": "m@1", "questions": 40, "failed": 0, **parts}

    monkeypatch.setattr("ray_jobs.evaluate.world.evaluate_world", evaluate_world)
    tracked: list[tuple[Any, ...]] = []

    class Kept(JobBooks):
        def keep(self, settings: Any, summary: Any, pictures: Path | None = None, files: Sequence[Path] = ()) -> None:
            if self.open:
                tracked.append((self.name, settings, summary, *files))

    monkeypatch.setattr("ray_jobs.tracking.JobBooks", Kept)
    words = ("evaluate", "world", "--seed", 5, "--count", 2, "--difficulty", "easy", "--out", tmp_path / "out")
    contents = []
    for more in (("--tracking", "local"), ()):
        assert run(*words, *more) == 0
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())})
    assert contents[0] == contents[1]
    told = contents[0]["report.md"].decode()
    report = json.loads(contents[0]["report.json"])
    assert "- seed: `5`" in told
    assert "0 of 40 questions failed" in told
    assert f"- model: `{report['model']}`" in told
    assert [line for line in told.splitlines() if line.startswith("# ")] == ["# video", "# anchor"]
    assert told.count("## all kinds, all levels") == 2
    [(name, settings, means, *files)] = tracked
    assert name == str(tmp_path / "out")
    assert settings["task"] == "world"
    assert means["video/all/questions"] == report["video"]["questions"]
    assert [path.name for path in files] == ["report.json", "report.md"]


@pytest.mark.parametrize("controls", [True, False])
def test_a_question_of_the_world_without_an_answer_is_told_and_gives_1(
    taught: list, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], controls: bool
) -> None:
    def ground(self: Session, question: str, reply: Reply) -> Answer:
        raise DialogueError("no room", "a shorter question", "ask less")

    monkeypatch.setattr(Session, "ground", ground)
    words = ("evaluate", "world", "--seed", 5, "--count", 2, "--difficulty", "easy", "--out", tmp_path)
    assert run(*words, "--controls" if controls else "--no-controls") == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failed"] == report["questions"]
    of_the_model = report["video"]["failed"] + report["anchor"]["failed"]
    assert (report["failed"] >= of_the_model + report["video"]["blind_questions"] > of_the_model) == controls
    told = f"{report['failed']} of {report['questions']} questions failed"
    assert told in " ".join(capsys.readouterr().err.split())
    assert told in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    "words", [["nothing"], ["world", "--count", "0"], ["world", "--difficulty", "odd"], ["world", "--level", "odd"]]
)
def test_evaluate_refuses_what_there_is_not(taught: list, run: Run, words: list[str]) -> None:
    assert run("evaluate", *words) == 2


def test_convert_passes_the_towers_and_counts(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def convert_folder(source: str, target: Path, *, report: object, **rest: object) -> conversion.Conversion:
        asked.update(rest, source=source, target=target)
        report("a step [1]")  # type: ignore[operator]
        return conversion.Conversion(target, preset("tiny"), {"a": "b"}, ("c", "d"), {"CLIP": "there"})

    monkeypatch.setattr(conversion, "convert_folder", convert_folder)
    assert run("convert", "release", tmp_path / "ours", "--dtype", "bfloat16", "--sam2", "sam.pt") == 0
    captured = capsys.readouterr()
    assert asked == {
        "source": "release", "target": tmp_path / "ours", "dtype": "bfloat16", "clip": None, "internvideo2": None, "sam2": "sam.pt",
    }  # fmt: skip
    assert "1 tensors used, 2 dropped on purpose; CLIP from there" in " ".join(captured.out.split())  # a long path wraps
    assert "a step [1]" in captured.err


def test_convert_tells_of_a_source_that_is_not_there(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", tmp_path / "nothing", tmp_path / "ours") == 2
    assert "CheckpointError" in capsys.readouterr().err
