"""SIGKILL for actors that decode, write and ground: a job each, in which every kill waits until the pool is whole again and a row
has finished since the last one."""

from __future__ import annotations

from benchmarks.bulk import rays
from benchmarks.bulk.job import SMALL, bulk_job, one_by_one
from benchmarks.bulk.kills import Killer
from benchmarks.bulk.undisturbed import QUESTION, Calm, calm, counted, joined
from benchmarks.report import Row, Section
from ray_jobs.annotate.run import annotate

KILLS, SHORT_KILLS = 10, 1
STAGES = ("decode", "language", "pixel")
JOBS = 4
"""Of a stage at most, since one job may be over before its stage was killed often enough."""


def kill(calmly: Calm, stage: str, kills: int) -> tuple[tuple[Row, ...], int, float]:
    """Jobs until a stage was killed so often: what their rows are against the undisturbed ones, kills, and seconds of the jobs."""
    compared, done, seconds = [], 0, 0.0
    for number in range(JOBS):
        killer = Killer((stage,), kills - done, seed=number)
        out = calmly.scratch / f"killed-{stage}-{number}"
        with rays.one_node(), rays.all_there_first():  # else decode may be done before pixel begins
            job = bulk_job(calmly.videos, calmly.model, out, QUESTION, profile=one_by_one(SMALL))
            summary = annotate(job, killer)
        seconds += summary.seconds
        done += len(killer.done)
        redone = max(tally.done - calmly.count for tally in summary.tallies.values())
        compared.append(
            (
                *calmly.compared(out),
                counted("videos done again beyond one for each kill", max(redone - len(killer.done), 0), at_most=0),
            )
        )
        if done >= kills:
            break
    return joined(compared), done, seconds


def run(*, model: str, short: bool) -> Section:
    calmly, kills = calm(model, short), SHORT_KILLS if short else KILLS
    found = {stage: kill(calmly, stage, kills) for stage in STAGES}
    rows = tuple(counted(f"kills of {stage}", done, at_least=kills) for stage, (_, done, _) in found.items())
    how = (
        f"{calmly.told()}. The one actor of a stage gets SIGKILL once it has come back and a video has finished since the last "
        f"time. Compared with a run that nothing disturbed."
    )
    details = tuple((f"jobs in which {stage} was killed", f"{seconds:.0f} s") for stage, (_, _, seconds) in found.items())
    return Section(
        "Killed actors",
        how,
        (*rows, *joined([compared for compared, _, _ in found.values()])),
        (*details, ("an undisturbed job", f"{calmly.seconds:.0f} s")),
    )
