"""SIGKILL for the driver, with all of its Ray, at random points of a job, each time taken up again."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from pathlib import Path

from benchmarks.bulk.driver import drive, waited
from benchmarks.bulk.job import rows_there
from benchmarks.bulk.undisturbed import QUESTION, calm, counted
from benchmarks.report import Section

KILLS, SHORT_KILLS = 10, 2
PATIENCE = 1800.0


def finished(out: Path) -> dict[str, int]:
    """Files of results and when each was written."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("**/*.parquet") if path.name[0] != "."}


def rewritten(before: dict[str, int], after: dict[str, int]) -> int:
    """Files that were there and were written again. One that has gone was joined into its part."""
    return sum(name in after and after[name] != written for name, written in before.items())


def run(*, model: str, short: bool) -> Section:
    calmly = calm(model, short)
    kills, chance = SHORT_KILLS if short else KILLS, random.Random(1)
    out, again, died, states = calmly.scratch / "killed-driver", 0, 0, []
    for drawn in sorted(chance.sample(range(1, calmly.count * 3 // 4), kills)):  # the last ones are left to the last run
        target = max(drawn, rows_there(out) + 1)  # each run does something before it dies
        driver = drive(calmly.videos, calmly.model, out, "--question", QUESTION)
        for _ in waited(PATIENCE, f"video {target}"):
            if rows_there(out) >= target or driver.poll() is not None:
                break
        died += driver.poll() is None
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        states.append(finished(out))
    before = rows_there(out)
    driver = drive(calmly.videos, calmly.model, out, "--question", QUESTION)
    status = driver.wait(timeout=2 * PATIENCE)
    states.append(finished(out))
    again = sum(rewritten(first, second) for first, second in itertools.pairwise(states))
    last = json.loads((out / "summary.json").read_text())["this_run"]
    rows = (
        counted("times the driver was killed at work", died, at_least=kills),
        counted("exit status of the last run", status, at_most=0),
        *calmly.compared(out),
        counted("finished videos done again", again + max(before - last["done_before"], 0), at_most=0),
    )
    how = (
        f"{calmly.told()}. The driver, its Ray and its actors get SIGKILL when a random number of videos is done, {kills} times; "
        f"then the same command again. Compared with a run that nothing disturbed."
    )
    details = (("videos left to the last run", str(last["videos"])), ("an undisturbed run", f"{calmly.seconds:.0f} s"))
    return Section("Killed driver", how, rows, details)
