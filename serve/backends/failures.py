"""What Ray and Serve raise, as the errors that users are told."""

from __future__ import annotations

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException, ReplicaUnavailableError

from vglamm.errors import Overloaded, VglammError, WorkerLost

LOST = (RayActorError, ObjectLostError, NodeDiedError, WorkerCrashedError, OutOfMemoryError, ReplicaUnavailableError)
"""OutOfMemoryError: Ray's monitor killed the process, which may not have been the one that took the memory."""
RAISED = (VglammError, *LOST, RayTaskError, RayServeException, TaskCancelledError)
"""What a call of a deployment may raise, bugs of a deployment (as RayTaskError) included."""


def told(error: BaseException, retry_after: float) -> BaseException:
    """A VglammError for what happened, or ``error`` itself if that is a bug. WorkerLost stands for whatever is gone with its
    process and may be asked for again."""
    for cause in _chain(error):
        if isinstance(cause, VglammError) and not isinstance(cause, RayTaskError):
            return cause
        if isinstance(cause, BackPressureError):
            wait = cause.retry_after_s or retry_after
            return Overloaded("more requests than may wait", "fewer at a time", "come again later", wait)
        if isinstance(cause, LOST):
            return WorkerLost("a replica that was lost", "one that lives", "ask again")
        if isinstance(cause, DeploymentUnavailableError):
            return Overloaded("a part that does not run now", "all parts", "come again later", retry_after)
    return error


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what caused it, across processes."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = getattr(error, "cause", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__
    return found
