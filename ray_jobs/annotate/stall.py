"""When a job that comes no further ends: Ray moved no block and no stage was heard on the board for too long.

Ray's own guard knows only of blocks, and a video gives its block when it is whole: long ones would end every job.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

from vglamm.errors import EnvironmentProblem

_BOARD, _SECONDS = "vglamm.board", "vglamm.stall"
_PERIOD = 1.0


def watch_stall(context: DataContext, board: Any, seconds: float) -> None:
    """Have datasets of this context end with EnvironmentProblem after ``seconds`` without a sign of life. board: an actor of
    :class:`ray_jobs.annotate.board.Board`."""
    context.execution_no_progress_timeout_s = -1
    context.set_config(_BOARD, board)
    context.set_config(_SECONDS, seconds)
    context.custom_execution_callback_classes.append(StallGuard)


class StallGuard(ExecutionCallback):
    """Looks at each step of the driver's loop, which it never blocks. Ray makes it, without arguments."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: Any = None
        self._since = self._next = 0.0
        self._asked: Any = None
        self._heard = 0

    def on_execution_step(self, executor: Any) -> None:
        now, context = self._clock(), executor._data_context
        self._listen(context.get_config(_BOARD), now)
        seen = (self._heard, _moved(executor._topology))
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= (seconds := context.get_config(_SECONDS)):
            raise EnvironmentProblem(
                f"no progress of any stage for {seconds:g} s",
                "a cluster on which every stage gets to run",
                "`ray status` and the log tell more, and `stall` of the profile is how long is waited; "
                "then the same command goes on",
            )

    def _listen(self, board: Any, now: float) -> None:
        """Ask the board about once a second, and take its answer whenever it is there."""
        if self._asked is None and now >= self._next:
            self._asked, self._next = board.heard.remote(), now + _PERIOD
        elif self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            self._heard, self._asked = ray.get(self._asked), None


def _moved(topology: Any) -> list[tuple[int, int, int]]:
    """What Ray's own guard looks at: outputs taken, blocks that wait before and behind each operator."""
    return [
        (operator.metrics.num_outputs_taken, state.total_enqueued_input_blocks(), state.total_enqueued_output_blocks())
        for operator, state in topology.items()
    ]
