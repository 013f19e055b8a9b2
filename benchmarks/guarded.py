"""What it costs that strangers' files are decoded in children, and what a nursery that forks them saves."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from benchmarks.bulk.footage import write_clips
from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from vglamm.media import forked
from vglamm.media.guarded import open_guarded
from vglamm.media.read import open_video

FRAMES = (0, 5)
TURNS = 10
"""Readings of a round, so that it is longer than the clock is coarse."""


def run(*, rounds: int) -> Section:
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as folder:
        [clip] = write_clips(Path(folder), 1)

        def guarded() -> None:
            for _ in range(TURNS):
                with closing(open_guarded(clip)) as source:
                    source.frames_at(FRAMES)

        def plain() -> None:
            for _ in range(TURNS):
                open_video(clip).frames_at(FRAMES)

        def first() -> None:
            for _ in range(TURNS):
                forked._stop()
                with closing(open_guarded(clip)) as source:
                    source.frames_at(FRAMES)

        arms = {"examined and decoded in children": guarded, "examined in a child, decoded here": plain}
        arms["the same in children of a new nursery, as the first time in a process"] = first
        for arm in arms.values():
            arm()
        spent = {name: [s / TURNS for s in series] for name, series in interleaved(arms, rounds).items()}
    children, _, new = spent.values()
    rows = (Row("a new nursery / children of one that runs", ratios(new, children), "x"),)
    details = tuple((name, Spread.of([1000 * s for s in series]).text(" ms")) for name, series in spent.items())
    how = (
        f"A clip of 128 px is opened anew and two frames are read, {TURNS} times a round, {rounds} rounds. Every video costs that "
        "once for language and once for pixel, before the first frame is there."
    )
    return Section("Reading strangers' files", how, rows, details)
