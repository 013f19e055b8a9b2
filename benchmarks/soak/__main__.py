"""All long checks: ``python -m benchmarks.soak [--short] [--only NAME ...] [--model PATH] [--no-goals]``.

Exit status 1 if a goal was missed, unless ``--no-goals``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import benchmarks.soak
from benchmarks.report import Section, load_average, machine


def subjects() -> dict[str, Callable[..., Section]]:
    """Every module of this folder, by its name; imported when it is run."""
    names = sorted(found.name for found in pkgutil.iter_modules(benchmarks.soak.__path__) if not found.name.startswith("_"))
    return {name: partial(_run, name) for name in names}


def _run(name: str, **how: Any) -> Section:
    section: Section = importlib.import_module(f"benchmarks.soak.{name}").run(**how)
    return section


def main(given: list[str] | None = None) -> int:
    known = subjects()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a small version of each")
    parser.add_argument("--only", choices=sorted(known), nargs="+", help="these subjects")
    parser.add_argument("--model", default="tiny", help="a checkpoint that grounds what it says; the shipped one by default")
    parser.add_argument("--no-goals", action="store_true", help="exit status 0 also if a goal was missed")
    chosen = parser.parse_args(given)
    torch.set_num_threads(1)
    before = load_average()
    missed = []
    for name in chosen.only or known:
        began = time.monotonic()
        section = known[name](model=chosen.model, short=chosen.short)
        missed += [row.what for row in section.rows if not row.reached]
        print(section.markdown(), f"{name}: {time.monotonic() - began:.0f} s", sep="\n\n", end="\n\n", flush=True)
    print("\n".join(f"{name}: {value}" for name, value in machine(before)))
    print(f"goals missed: {', '.join(missed)}" if missed else "all goals reached")
    return 1 if missed and not chosen.no_goals else 0


if __name__ == "__main__":
    raise SystemExit(main())
