"""A job ends when nothing moves and nobody is heard, and goes on while either does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ray.data import DataContext

from ray_jobs.annotate import stall
from ray_jobs.annotate.board import Board, Note
from ray_jobs.annotate.stall import StallGuard, watch_stall
from vglamm.errors import EnvironmentProblem


class Rig:
    """A clock, a job of one operator, and a board whose answers come at once, or never if it is ``deaf``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 10.0) -> None:
        self.now, self.taken, self.deaf, self.asked = 0.0, 0, False, 0
        self.board = Board()
        self.guard = StallGuard(clock=lambda: self.now)
        context = DataContext.get_current().copy()
        watch_stall(context, SimpleNamespace(heard=SimpleNamespace(remote=self._ask)), seconds)
        assert context.execution_no_progress_timeout_s == -1
        assert StallGuard in context.copy().execution_callback_classes
        assert StallGuard not in DataContext.get_current().execution_callback_classes
        self._context = context
        monkeypatch.setattr(stall.ray, "wait", lambda refs, timeout: ([], refs) if self.deaf else (refs, []))
        monkeypatch.setattr(stall.ray, "get", lambda ref: ref)

    def _ask(self) -> int:
        self.asked += 1
        return self.board.heard()

    def step(self, now: float) -> None:
        self.now = now
        operator = SimpleNamespace(metrics=SimpleNamespace(num_outputs_taken=self.taken))
        state = SimpleNamespace(total_enqueued_input_blocks=lambda: 3, total_enqueued_output_blocks=lambda: 0)
        topology = SimpleNamespace(items=lambda: [(operator, state)])
        self.guard.on_execution_step(SimpleNamespace(_topology=topology, _data_context=self._context))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_silence_ends_the_job(rig: Rig) -> None:
    for now in range(10):
        rig.step(now)
    with pytest.raises(EnvironmentProblem, match=r"no progress of any stage for 10 s.*`stall` of the profile.*goes on"):
        rig.step(10.0)


def test_blocks_that_move_are_progress(rig: Rig) -> None:
    for now in range(0, 40, 8):
        rig.taken += 1
        rig.step(now)


@pytest.mark.parametrize("sign", [lambda board: board.beat(), lambda board: board.take(Note("vision", "n", 1, 1, 0, 1.0, 1.0))])
def test_a_stage_that_is_heard_is_progress(rig: Rig, sign: Callable[[Board], None]) -> None:
    for now in range(40):
        if now % 8 == 0:
            sign(rig.board)
        rig.step(now)
    with pytest.raises(EnvironmentProblem):
        rig.step(60)


def test_the_board_is_asked_once_a_second_and_never_waited_for(rig: Rig) -> None:
    for step in range(50):
        rig.step(step / 10)
    assert rig.asked == 5
    rig.deaf = True
    rig.step(5.0)
    for step in range(51, 90):
        rig.step(step / 10)
    assert rig.asked == 6, "one question waits"
