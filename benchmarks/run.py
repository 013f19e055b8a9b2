"""All benchmarks: ``python -m benchmarks.run [--quick] [--only NAME] [--no-goals]``.

A full run writes docs/benchmarks.md; ``--quick`` (few rounds) and ``--only`` print what they found and write nothing. Exit status 1
if a goal was missed, unless ``--no-goals``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import (
    batching,
    driver_memory,
    efficiency,
    endpoint,
    generation,
    guarded,
    memory,
    object_store,
    objects,
    realtime,
    rle,
)  # fmt: skip
from benchmarks.report import Section, load_average, machine, page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
ALL: dict[str, tuple[Callable[..., Section], int, int]] = {
    "generation": (generation.run, 2, 1),
    "batching": (batching.run, 3, 1),
    "objects": (objects.run, 5, 2),
    "realtime": (realtime.run, 3, 1),
    "guarded": (guarded.run, 5, 2),
    "endpoint": (endpoint.run, 3, 2),
    "efficiency": (efficiency.run, 1, 1),
    "memory": (memory.run, 2, 1),
    "rle": (rle.run, 1, 1),
    "object_store": (object_store.run, 1, 1),
    "driver_memory": (driver_memory.run, 1, 1),
}
"""name -> (benchmark, rounds of a full run, rounds of a quick one). Those that time something come first, for a machine that is
quiet for half an hour."""


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--only", choices=sorted(ALL), help="one benchmark")
    parser.add_argument("--no-goals", action="store_true", help="exit status 0 also if a goal was missed")
    chosen = parser.parse_args(given)
    torch.set_num_threads(1)
    before = load_average()
    sections = []
    for name in [chosen.only] if chosen.only else ALL:
        benchmark, full, quick = ALL[name]
        sections.append(benchmark(rounds=quick if chosen.quick else full))
        print(sections[-1].markdown(), end="\n\n", flush=True)
    facts = machine(before)
    print("\n".join(f"{name}: {value}" for name, value in facts))
    if not (chosen.quick or chosen.only):
        PAGE.write_text(page(sections, facts), encoding="utf-8")
    missed = [row.what for section in sections for row in section.rows if not row.reached]
    print(f"goals missed: {', '.join(missed)}" if missed else "all goals reached")
    return 1 if missed and not chosen.no_goals else 0


if __name__ == "__main__":
    raise SystemExit(main())
