"""Sixty videos of which six are bad in six ways, against the good ones alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.bulk.driver import drive
from benchmarks.bulk.job import rows_there
from benchmarks.bulk.poison import REASONS, SIX, spoil
from benchmarks.bulk.undisturbed import QUESTION, calm, counted
from benchmarks.report import Section
from vglamm import annotation

PATIENCE = 3600.0
SLOWER, STALL = 1.3, 60.0
PART = 1000
"""Videos of a part: rows stay files of their own until the end, so that they can be counted."""


def watched(driver: subprocess.Popen[bytes], out: Path) -> float:
    """Wait for a driver's end; the longest time, from its first row on, in which none was written."""
    began, there, since, longest = time.monotonic(), 0, 0.0, 0.0
    while driver.poll() is None:
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"no end after {PATIENCE:.0f} s")
        now, count = time.monotonic(), rows_there(out, PART)
        longest = max(longest, now - since) if there else 0.0
        if count > there:
            there, since = count, now
        time.sleep(0.25)
    return longest


def run(*, model: str, short: bool) -> Section:
    calmly = calm(model, short)
    clips = sorted(calmly.videos.glob("*.mp4"))
    good, each = clips[: len(clips) - len(SIX)], len(clips) // len(SIX)
    folders = {name: calmly.scratch / name for name in ("good", "poisoned")}
    for folder in folders.values():
        folder.mkdir()
        for clip in good:
            shutil.copy(clip, folder)
    # Between good ones: each sorts behind another clip.
    bad = {spoil(folders["poisoned"], kind, clips[0], f"clip-{n * each:04d}-"): REASONS[kind] for n, kind in enumerate(SIX)}
    outs, stalls, statuses = {}, {}, {}
    for name, folder in folders.items():
        outs[name] = calmly.scratch / f"{name}-out"
        options = ("--question", QUESTION, "--part", PART, "--hook", "benchmarks.bulk.poison.setup")
        driver = drive(folder, calmly.model, outs[name], *options)
        stalls[name] = watched(driver, outs[name])
        statuses[name] = driver.returncode
    found = {row.id: row.error_type for row in annotation.read(outs["poisoned"])}
    seconds = {name: json.loads((out / "summary.json").read_text())["this_run"]["seconds"] for name, out in outs.items()}
    failed = {name: kind for name, kind in found.items() if kind}
    rows = (
        counted("exit status of the worst run", max(abs(status) for status in statuses.values()), at_most=0),
        counted(f"rows that are ok, of {len(good)}", len(found) - len(failed), at_least=len(good)),
        counted(
            f"rows failed for the right reason, of {len(bad)}", sum(failed.get(k) == v for k, v in bad.items()), at_least=len(bad)
        ),
        counted("rows failed beside them", len(set(failed) - set(bad)), at_most=0),
        counted("wall time with the bad ones / without", seconds["poisoned"] / seconds["good"], "x", at_most=SLOWER),
        counted("longest time without a row", stalls["poisoned"], " s", at_most=STALL),
    )
    how = (
        f"{calmly.told()}; {len(good)} good ones, alone and with {len(bad)} bad ones between them: "
        f"{', '.join(name.split('-', 2)[2] for name in bad)} (the last a double that makes the decoder crash)."
    )
    details = tuple((f"job, {name}", f"{value:.0f} s") for name, value in seconds.items())
    return Section("Poison", how, rows, details)
