"""One of three simulated nodes goes, with its actors and what its object store held, in the middle of a job."""

from __future__ import annotations

import json

from benchmarks.bulk.driver import done_again, drive
from benchmarks.bulk.undisturbed import QUESTION, calm, counted
from benchmarks.report import Section

PATIENCE = 3600.0


def run(*, model: str, short: bool) -> Section:
    calmly = calm(model, short)
    out, after = calmly.scratch / "lost-node", calmly.count // 3
    driver = drive(calmly.videos, calmly.model, out, "--question", QUESTION, "--lose-node-after", after)
    status = driver.wait(timeout=PATIENCE)
    last = json.loads((out / "summary.json").read_text())["this_run"]
    again, in_flight = done_again(out, calmly.count)
    rows = (
        counted("exit status (3: over before the node went)", status, at_most=0),
        *calmly.compared(out),
        counted("work of stages done again, in videos (at most what was in flight)", again, at_most=in_flight),
    )
    how = (
        f"{calmly.told()}. Three nodes of one CPU each on this machine; one is removed when {after} videos are done. Compared with "
        f"a run on one node that nothing disturbed."
    )
    details = (("this job", f"{last['seconds']:.0f} s"), ("an undisturbed one", f"{calmly.seconds:.0f} s"))
    return Section("Lost node", how, rows, details)
