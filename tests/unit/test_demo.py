"""The demonstration: two clips whose truth is known, everything written, overlaps that mean what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vglamm
from tests import fakes
from vglamm import demo
from vglamm.answer import Answer
from vglamm.media import rle
from vglamm.media.read import open_video
from vglamm.records import Phrase, Sampling, Track
from vglamm.walk import Walk


def test_the_clips_are_the_same_every_time_and_ask_different_kinds() -> None:
    first, again = demo.clips(), demo.clips()
    assert list(first) == ["drawn", "film"]
    for name, sample in first.items():
        np.testing.assert_array_equal(sample.frames, again[name].frames)
        assert [turn.kind for turn in sample.turns] == [turn.kind for turn in again[name].turns]
        assert len({turn.kind for turn in sample.turns}) == len(sample.turns) >= 3
        assert len(sample.masks) == sum(len(turn.targets) for turn in sample.turns)


def test_one_clip_is_set_into_a_film() -> None:
    assert demo.clips()["film"].meta.ground == "film"  # type: ignore[union-attr]


def test_everything_is_asked_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vglamm, "load", lambda model, device: Walk.of(fakes.talker(), fakes.tokenizer()), raising=False)
    told = list(demo.run(tmp_path / "out"))
    asked = {name: len(sample.turns) for name, sample in demo.clips().items()}
    assert [step.clip for step in told] == [name for name, turns in asked.items() for _ in range(turns)]
    names = {f"{name}{end}.mp4" for name, turns in asked.items() for end in ("", *(f"-{n}" for n in range(1, turns + 1)))}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"index.html", "answers.json"}
    assert len(open_video(tmp_path / "out" / "film-2.mp4")) == 16
    kept = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert [Answer.from_json(json.dumps(entry["answer"])) for entry in kept] == [step.answer for step in told]
    assert [entry["overlap"] is None for entry in kept] == [not step.truth or step.overlap is None for step in told]
    assert told[-1].truth.startswith("There is no ")
    assert told[-1].overlap is None
    assert all("[SEG]" not in step.truth for step in told)


def answer_of(masks: np.ndarray) -> Answer:
    """An answer with these masks bool[S, K, H, W] on frames 0, 2, 4, ..."""
    count, frames = masks.shape[:2]
    tracks = []
    for track in masks:
        found = tuple(rle.encode(track))
        tracks.append(Track(found, (None,) * frames, (1.0,) * frames, 1.0, 0, frames - 1))
    indices = tuple(range(0, 2 * frames, 2))
    times = tuple(float(i) for i in indices)
    sampling = Sampling(indices, times, indices, times, 2 * frames, 1.0, masks.shape[2:])
    phrases = tuple(Phrase(None, None, None, s) for s in range(count))
    return Answer("?", "", "", phrases, tuple(tracks), (), sampling, "clip", "tiny")


def test_overlap_is_the_mean_over_true_masks_on_the_frames_of_the_answer() -> None:
    truth = np.zeros((2, 6, 4, 4), bool)
    truth[0, :, :2] = True
    truth[1, :, 2:] = True
    truth[:, 1::2] = False  # frames that the answer does not have
    right = answer_of(truth[:, ::2])
    assert demo.overlap(right, truth) == 1.0
    half = truth[:, ::2].copy()
    half[0, :, 1] = False
    assert demo.overlap(answer_of(half), truth) == pytest.approx(0.75)
    assert demo.overlap(answer_of(half[:1]), truth) == pytest.approx(0.25)  # the second object was not found
    assert demo.overlap(right, truth[:0]) is None
    assert demo.overlap(replace(right, phrases=(), tracks=()), truth) == 0.0
