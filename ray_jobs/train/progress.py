"""Where a run is: a live line on a terminal, one line every 30 seconds elsewhere (or after each step, if that takes longer)."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ray_jobs.tracking import window

INTERVAL = 30.0
"""Seconds without a word, at most. A report comes before they have passed."""


class Display:
    """Shows reports as they come. console: stderr unless given; interval: least seconds between lines where it is no terminal. Half
    of ``INTERVAL``, since reports come in uneven steps: none that ends a silence may be passed over."""

    def __init__(self, name: str, console: Console | None = None, interval: float = INTERVAL / 2) -> None:
        self.name, self.interval, self.last = name, interval, float("-inf")
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[said]}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task(name, total=None, said="starting")
            self.bar.start()

    def take(self, reports: list[dict[str, Any]]) -> None:
        first = reports[0]
        said = sentence(window(first))
        if checked := first.get("validation"):
            self.console.print(f"{self.name} step {first['step']} validation: {numbers(checked)}", highlight=False, soft_wrap=True)
        if self.bar is not None:
            self.bar.update(self.task, completed=first["step"], total=first["total"], said=said)
        elif time.monotonic() - self.last >= self.interval or first["step"] == first["total"]:
            self.last = time.monotonic()
            self.console.print(f"{self.name} step {first['step']}/{first['total']} {said}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def sentence(means: dict[str, float]) -> str:
    """Losses first, then speed and how much of the time went into waiting for data."""
    if not means:
        return ""
    apart = {"norm", "lr", "wait", "seconds", "samples_per_second"}
    losses = {"loss": means["loss"], **{name: value for name, value in means.items() if name not in apart}}
    waiting = means["wait"] / max(means["seconds"], 1e-9)
    speed = f"{means['samples_per_second']:.1f} samples/s, {waiting:.0%} waiting"
    return f"{numbers(losses)} norm {means['norm']:.3g} lr {means['lr']:.2e} {speed}"


def numbers(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
