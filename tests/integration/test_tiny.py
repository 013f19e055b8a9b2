"""The shipped model: small enough for the package, and it answers clips that it was never trained on far better than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vglamm
from ray_jobs.evaluate.world import WorldTask, evaluate_world
from vglamm.data.world import make_sample
from vglamm.source import resolve

SEED = 10_150_000  # of the test split, apart from the clips whose figures are in docs/status.md

LONG_SEED = 700_000_092  # two things of which both are there from the first frame on


def test_the_weights_fit_into_the_package() -> None:
    folder = resolve("tiny")
    assert folder.is_relative_to(Path(vglamm.__file__).parent)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 25_000_000


@pytest.fixture(scope="module")
def report() -> dict:
    return evaluate_world(vglamm.load("tiny"), WorldTask(SEED, 30, level="shapes"))


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


@pytest.mark.slow
def test_objects_keep_their_ids_for_ten_minutes() -> None:
    """A short clip, played to and fro until 600 frames at one a second are full: each track stays with its own object."""
    sample = make_sample(LONG_SEED, level="shapes")
    [turn] = [turn for turn in sample.turns if turn.kind == "description"]
    count = len(sample.frames)
    there_and_back = [*range(count), *range(count - 2, 0, -1)]
    played = [there_and_back[n % len(there_and_back)] for n in range(600)]
    answer = vglamm.load("tiny").watch(sample.frames[played], source_fps=1.0, every_frame=True).ask(turn.question)
    assert answer.sampling.grounding_times[-1] == 599.0
    assert len(answer.tracks) == len(turn.targets) == 2
    before = sum(len(other.targets) for other in sample.turns[: sample.turns.index(turn)])
    truth = sample.masks[before : before + 2][:, played]
    found = np.stack([answer.masks(track) for track in range(2)])
    for at in range(0, 600, 7):  # all phases of the movement, from end to end
        shared = (found[:, None, at] & truth[None, :, at]).sum((2, 3))
        ious = shared / (found[:, None, at] | truth[None, :, at]).sum((2, 3))
        assert min(ious[0, 0], ious[1, 1]) > 0.5, f"frame {at}: {ious}"
        assert max(ious[0, 1], ious[1, 0]) < 0.2, f"frame {at}: {ious}"
