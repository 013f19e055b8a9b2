"""The shipped model: small enough for the package, and it answers clips that it was never trained on far better than chance."""

from __future__ import annotations

from pathlib import Path

import pytest

import vglamm
from ray_jobs.evaluate.world import WorldTask, evaluate_world
from vglamm.source import resolve

SEED = 10_150_000  # of the test split, apart from the clips whose figures are in docs/status.md


def test_the_weights_fit_into_the_package() -> None:
    folder = resolve("tiny")
    assert folder.is_relative_to(Path(vglamm.__file__).parent)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 25_000_000


@pytest.fixture(scope="module")
def report() -> dict:
    return evaluate_world(vglamm.load("tiny"), WorldTask(SEED, 40, level="shapes"))


def group(report: dict, kind: str | None) -> dict:
    return next(g for g in report["video"]["groups"] if g["kind"] == kind and g["level"] is None)


def test_it_finds_what_is_named_and_not_just_anything(report: dict) -> None:
    look = group(report, "look")["metrics"]
    assert look["text_exact"]["mean"] >= 0.8
    assert look["miou_start"]["mean"] >= 0.65
    assert look["miou_start"]["mean"] > look["miou_start_everything"]["mean"] + 0.1
    assert look["miou_start"]["mean"] > look["miou_start_random"]["mean"] + 0.2


def test_it_looks(report: dict) -> None:
    """What it writes about a clip is not what it writes about another."""
    everything = group(report, None)
    assert everything["metrics"]["text_exact"]["mean"] > everything["blind"]["text_exact"]["mean"] + 0.1
