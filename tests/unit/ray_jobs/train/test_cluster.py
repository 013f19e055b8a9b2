"""How a run on Ray ends for who started it. Runs themselves are in tests/integration/test_train.py."""

from __future__ import annotations

import signal

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError, WorkerGroupError

from ray_jobs.train.cluster import fit
from vglamm.errors import ConfigError, EnvironmentProblem, WorkerLost

CLOSED = RuntimeError("Connection closed by peer")
"""What the ranks that are left say in a collective."""


class Trainer:
    """Ends as Ray Train does (ray.train.v2.api.data_parallel_trainer): takes SIGINT, then raises ``end`` if there is one."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.end = end

    def fit(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.end is not None:
            raise self.end


def test_ctrl_c_is_no_success_and_works_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(Trainer(SystemExit(0)))
    fit(Trainer())
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_ours_on_a_worker_is_raised_as_it_was() -> None:
    ours = ConfigError("loss=nan", "finite numbers", "lower optimiser.lr")
    with pytest.raises(ConfigError, match="got loss=nan") as caught:
        fit(Trainer(WorkerGroupError("rank 1 failed", {0: RayActorError(), 1: ours})))
    assert caught.value is ours


def test_workers_that_died_are_said_to_be_lost() -> None:
    with pytest.raises(WorkerLost, match="rank 0, 3"):
        fit(Trainer(WorkerGroupError("gone", {3: RayActorError(), 0: RayActorError(), 1: CLOSED})))


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("CUDA out of memory")])
def test_what_the_machine_lacks_is_raised_as_it_was(failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        fit(Trainer(WorkerGroupError("failed", {0: CLOSED, 1: failure})))
    assert caught.value is failure
    with pytest.raises(type(failure)):
        fit(Trainer(ControllerError(failure)))
    with pytest.raises(EnvironmentProblem):
        fit(Trainer(ControllerError(EnvironmentProblem("a", "b", "c"))))
    with pytest.raises(ControllerError):
        fit(Trainer(ControllerError(ZeroDivisionError("a bug"))))


def test_a_bug_on_a_worker_stays_what_it_is() -> None:
    with pytest.raises(WorkerGroupError, match="division"):
        fit(Trainer(WorkerGroupError("division by zero", {0: ZeroDivisionError(), 1: CLOSED})))
