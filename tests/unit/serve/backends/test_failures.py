"""What Ray and Serve raise, as users are told."""

import pickle

import pytest
from ray.exceptions import ActorDiedError, ObjectLostError, OutOfMemoryError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from serve.backends.failures import RAISED, told
from vglamm.errors import Overloaded, VideoTooLarge, WorkerLost


def from_a_task(error: Exception) -> RayTaskError:
    return RayTaskError("see", "a traceback", error).as_instanceof_cause()


LARGE = VideoTooLarge("a", "b", "c")


def upstream() -> RayServeException:
    error = RayServeException("an upstream actor died")
    error.__cause__ = ActorDiedError()
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LARGE, VideoTooLarge),
        (from_a_task(LARGE), VideoTooLarge),
        (from_a_task(from_a_task(LARGE)), VideoTooLarge),
        (from_a_task(WorkerLost("a", "b", "c")), WorkerLost),
        (ActorDiedError(), WorkerLost),
        (from_a_task(ActorDiedError()), WorkerLost),
        (ObjectLostError("00", None, ""), WorkerLost),
        (OutOfMemoryError("killed by the memory monitor"), WorkerLost),
        (from_a_task(OutOfMemoryError("killed by the memory monitor")), WorkerLost),
        (upstream(), WorkerLost),
        (BackPressureError(3, 2), Overloaded),
        (from_a_task(BackPressureError(3, 2)), Overloaded),
    ],
)
def test_errors_become_those_of_the_tree(error, kind):
    assert isinstance(error, RAISED)
    found = told(error, 3.0)
    assert type(found) is kind
    assert not isinstance(found, RayTaskError)


def test_a_bug_stays_a_bug():
    bug = from_a_task(KeyError("a"))
    assert isinstance(bug, RAISED)
    assert told(bug, 1.0) is bug


def test_overload_says_when_to_come_again_also_across_processes():
    assert told(BackPressureError(3, 2, retry_after_s=7.0), 3.0).retry_after == 7.0
    assert told(BackPressureError(3, 2), 3.0).retry_after == 3.0
    assert pickle.loads(pickle.dumps(Overloaded("a", "b", "c", 5.0))).retry_after == 5.0
