"""`vglamm evaluate SET`: words become what is asked, numbers are shown in both modes, and too many failures are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ray_jobs.evaluate import corpora
from ray_jobs.evaluate.asked import Asked, Texts
from tests.unit.commands.conftest import Run
from tests.unit.data.corpora import test_gcg as gcg
from tests.unit.data.corpora.disk import mevis
from tests.unit.ray_jobs.evaluate.oracle import LOST, oracle
from vglamm.commands.scores import numbers

Calls = list[tuple[Asked, dict[str, Any]]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Evaluates with answers that are true, but for the first expression of MeViS, which is lost."""
    calls: Calls = []

    def run(asked: Asked, **how: Any) -> corpora.Outcome:
        calls.append((asked, how))
        changes = {f"mevis/{asked.cases.split}/ab/0": LOST}
        done = corpora.evaluate(asked, oracle(asked.cases, changes), model="fake@0123")
        how["show"](done)
        return done

    monkeypatch.setattr(corpora, "run", run)
    return calls


def test_words_become_what_is_asked(called: Calls, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcg._words(tmp_path)
    monkeypatch.setenv("A_KEY", "hidden")
    words = (
        *("video_gcg", "--data", tmp_path, "--out", tmp_path / "out", "--limit", 1, "--seed", 3, "--max-new-tokens", 512),
        *("--similarity", "exact", "--profile", "one-gpu", "--model", "phi3", "--ray", "auto", "--max-failed", "1"),
        *(
            "--retry-failed",
            "--clair-key-env",
            "A_KEY",
            "--clair-url",
            "http://127.0.0.1:1/v1",
            "--clair-model",
            "m",
            "--tracking",
            "local",
        ),
    )
    monkeypatch.setattr(corpora, "evaluate", lambda asked, *_, **__: corpora.Outcome(1, 0, None, {}))
    assert run("evaluate", *words) == 0
    ((asked, how),) = called
    assert (asked.cases.task, asked.cases.root, asked.cases.split, asked.cases.limit) == ("video_gcg", tmp_path, "test", 1)
    assert (asked.model, asked.profile, asked.seed, asked.max_new_tokens, asked.max_failed) == ("phi3", "one-gpu", 3, 512, 1)
    assert asked.retry
    assert asked.texts == Texts("exact", "http://127.0.0.1:1/v1", "m", "A_KEY")
    assert (how["address"], how["tracking"]) == ("auto", "local")


def test_both_modes_are_shown_beside_the_paper(called: Calls, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mevis(tmp_path)
    assert run("evaluate", "mevis", "--data", tmp_path, "--out", tmp_path / "out") == 1, "a case is lost"
    captured = capsys.readouterr()
    row = next(line for line in captured.out.splitlines() if "J&F" in line)
    assert row.count("66.67  66.67 to 66.67") == 2, "one video: its interval is a point"
    assert "45.15" in row
    assert "on valid" in captured.out, "and not on valid_u, as here"
    assert "1 of 3 cases failed" in " ".join(captured.err.split())
    assert (tmp_path / "out" / "report.md").is_file()
    assert run("evaluate", "mevis", "--data", tmp_path, "--out", tmp_path / "out", "--max-failed", "0.5") == 0


def test_a_split_of_a_server_gives_a_submission(
    called: Calls, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mevis(tmp_path, "valid")
    words = (
        "evaluate",
        "mevis",
        "--split",
        "valid",
        "--data",
        tmp_path,
        "--out",
        tmp_path / "out",
        "--submission",
        tmp_path / "s.zip",
    )
    assert run(*words) == 1
    assert "no submission was written" in " ".join(capsys.readouterr().err.split())
    assert run(*words, "--max-failed", "0.5") == 0
    assert (tmp_path / "s.zip").is_file()
    assert (tmp_path / "s-published.zip").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mevis"], "without --data"),
        (["mevis", "--data", "."], "without --out"),
        (["mevis", "--data", ".", "--out", "o", "--count", "3"], "--count with mevis"),
        (["mevis", "--data", ".", "--out", "o", "--no-controls"], "--controls with mevis"),
        (["world", "--data", "."], "--data with world"),
        (["world", "--limit", "3"], "--limit with world"),
        (["world", "--retry-failed"], "--retry-failed with world"),
        (["nothing", "--data", "."], "ref_davis17"),
    ],
)
def test_what_does_not_fit_is_told(
    called: Calls, run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", *words) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert called == []


def test_a_number_that_was_not_computed_says_why() -> None:
    none = {"value": None, "low": None, "high": None, "n": 0, "note": "not computed: no java"}
    alone = {"value": 0.5, "low": None, "high": None, "n": 1, "note": ""}
    row = {"title": "METEOR", "measure": "meteor", "unit": "", "published": none, "corrected": alone, "paper": 0.103}
    (table,) = numbers({"paper": "the paper", "sections": [{"group": "", "cases": 1, "rows": [row]}]})
    assert [list(column.cells) for column in table.columns] == [["METEOR"], ["not computed: no java"], ["0.500"], ["0.103"]]
    assert list(numbers(None)) == []
