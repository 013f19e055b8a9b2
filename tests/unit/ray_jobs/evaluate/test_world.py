"""Evaluation on the generated world, with a model that was taught nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ray_jobs.evaluate.world import MODES, WorldTask, evaluate_world
from tests import fakes
from vglamm.errors import DialogueError, MaskError
from vglamm.steps.language import LanguageStep
from vglamm.walk import Session, Walk

TASK = WorldTask(5, 2, level="shapes")


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk.of(fakes.model(), fakes.tokenizer())


def whole(report: dict[str, Any], mode: str) -> dict[str, Any]:
    return next(group for group in report[mode]["groups"] if group["kind"] is None and group["level"] is None)


def test_the_blind_control_stands_beside_both_modes_and_text_is_written_once(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = LanguageStep.__call__

    def counted(self: LanguageStep, inputs: Any, **options: Any) -> Any:
        written.extend(question for _, _, question in inputs)
        return write(self, inputs, **options)

    monkeypatch.setattr(LanguageStep, "__call__", counted)
    report = evaluate_world(walk, TASK)
    turns = [len(sample.turns) for sample in TASK.samples()]
    moving = [len(sample.turns) for sample in TASK.samples() if any(turn.kind == "motion" for turn in sample.turns)]
    assert len(written) == sum(turns) + turns[1] + sum(moving)
    for mode in MODES:
        assert report[mode]["questions"] == sum(turns)
        assert report[mode]["blind_questions"] == turns[1]
        assert whole(report, mode)["blind"]["miou"] is not None
    alone = evaluate_world(walk, WorldTask(5, 2, level="shapes", controls=False))
    assert [alone[mode]["blind_questions"] for mode in MODES] == [0, 0]
    assert [whole(alone, mode)["metrics"] for mode in MODES] == [whole(report, mode)["metrics"] for mode in MODES]


def test_what_fails_in_one_mode_is_counted_there(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Session.ground

    def failing(self: Session, question: str, reply: Any) -> Any:
        if self.mode == "anchor":
            raise MaskError("none", "some", "fix")
        return ground(self, question, reply)

    monkeypatch.setattr(Session, "ground", failing)
    report = evaluate_world(walk, WorldTask(5, 1, level="shapes", controls=False))
    assert report["video"]["failed"] == 0
    assert report["anchor"]["failed"] == report["anchor"]["questions"] > 0


def test_a_question_without_a_reply_fails_in_both(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: LanguageStep, inputs: Any) -> Any:
        raise DialogueError("none", "some", "fix")

    monkeypatch.setattr(LanguageStep, "__call__", silent)
    report = evaluate_world(walk, WorldTask(5, 1, level="shapes", controls=False))
    assert [report[mode]["failed"] for mode in MODES] == [report[mode]["questions"] for mode in MODES]
