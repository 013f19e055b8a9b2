"""What a benchmark found, and the page of all of them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.measure import Spread, digits

PACKAGES = ("torch", "transformers", "sam2", "av", "numpy")


@dataclass(frozen=True)
class Row:
    """One number. what: in words. unit: behind the number. at_least, at_most: the goal, if there is one, held by the median."""

    what: str
    found: Spread
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the goal is reached; true where there is none."""
        enough = self.at_least is None or self.found.median >= self.at_least
        return enough and (self.at_most is None or self.found.median <= self.at_most)

    @property
    def goal(self) -> str:
        if self.at_least is None and self.at_most is None:
            return "none: reported"
        word, bound = ("at least", self.at_least) if self.at_least is not None else ("at most", self.at_most)
        assert bound is not None
        return f"{word} {bound:g}{self.unit}"

    @property
    def verdict(self) -> str:
        if self.at_least is None and self.at_most is None:
            return ""
        return "reached" if self.reached else "**missed**"


@dataclass(frozen=True)
class Section:
    """What one benchmark says. how: what was compared, at which sizes. details: name and value of what else was measured."""

    title: str
    how: str
    rows: tuple[Row, ...]
    details: tuple[tuple[str, str], ...] = ()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.how, "", "| | median (lowest to highest) | goal | |", "|---|---|---|---|"]
        lines += [f"| {row.what} | {row.found.text(row.unit)} | {row.goal} | {row.verdict} |" for row in self.rows]
        if self.details:
            lines += ["", "| also measured | |", "|---|---|", *(f"| {name} | {value} |" for name, value in self.details)]
        return "\n".join(lines)


def load_average() -> str:
    """Of the last 1, 5 and 15 minutes."""
    return " ".join(digits(load) for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def processor() -> str:
    """Its name as the system tells it."""
    told = Path("/proc/cpuinfo")
    named = (
        [line.split(":", 1)[1].strip() for line in told.read_text().splitlines() if line.startswith("model name")]
        if told.exists()
        else []
    )
    return named[0] if named else platform.processor() or platform.machine()


def machine(load_before: str) -> list[tuple[str, str]]:
    """What the numbers were measured on and with."""
    return [
        ("processor", processor()),
        ("cores", str(os.cpu_count())),
        ("threads of torch", str(torch.get_num_threads())),
        ("load average before, after", f"{load_before}, {load_average()}"),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)),
    ]


def page(sections: list[Section], facts: list[tuple[str, str]]) -> str:
    """docs/benchmarks.md."""
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. All numbers of a row come from one run on one machine, the things compared take",
        "turns (A B A B ...), and a ratio is taken round by round. Random weights, unless a section says otherwise.",
        "",
        "| machine | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts),
    ]
    return "\n\n".join(["\n".join(head), *(section.markdown() for section in sections)]) + "\n"
