"""How many seconds ``ask`` takes for each second of video, and where they go."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

import vglamm
from benchmarks.measure import Spread
from benchmarks.report import Row, Section
from vglamm.answer import Answer
from vglamm.clock import STAGES
from vglamm.data.sample import Sample
from vglamm.demo import clips
from vglamm.errors import CheckpointError
from vglamm.media.mp4 import write_mp4
from vglamm.walk import Walk


def load() -> tuple[Walk, str]:
    """The shipped model, or random weights of its sizes where it is not there, and which of them it is."""
    try:
        return vglamm.load("tiny"), "the shipped weights"
    except CheckpointError:
        from vglamm.data.world.tokenizer import build_tokenizer
        from vglamm.model import VideoGLaMM
        from vglamm.presets import preset

        torch.manual_seed(0)
        return Walk.of(VideoGLaMM(preset("tiny")).eval().requires_grad_(False), build_tokenizer()), "random weights"


def seconds(answer: Answer) -> float:
    """What the stages took together."""
    return sum(answer.timings.values())


def answers(walk: Walk, samples: dict[str, Sample], folder: Path, rounds: int) -> tuple[list[list[Answer]], float]:
    """For each round the answers to all questions, each about a clip that is opened anew; and the seconds of video asked about."""
    video = 0.0
    for name, sample in samples.items():
        write_mp4(folder / f"{name}.mp4", ((k / sample.fps, frame) for k, frame in enumerate(sample.frames)), last=1 / sample.fps)
        video += len(sample.turns) * len(sample.frames) / sample.fps
    asked = [(folder / f"{name}.mp4", turn.question) for name, sample in samples.items() for turn in sample.turns]
    walk.ask(*asked[0])  # warm up
    return [[walk.ask(clip, question) for clip, question in asked] for _ in range(rounds)], video


def run(*, rounds: int, walk: Walk | None = None) -> Section:
    walk, weights = (walk, "given weights") if walk is not None else load()
    samples = clips()
    with tempfile.TemporaryDirectory() as folder:
        series, video = answers(walk, samples, Path(folder), rounds)
    factors = [sum(map(seconds, each)) / video for each in series]
    shares = {
        stage: statistics.median(sum(a.timings[stage] for a in each) / sum(map(seconds, each)) for each in series)
        for stage in STAGES
    }
    first = next(iter(samples.values()))
    turns, masked = sum(len(s.turns) for s in samples.values()), sum(len(a.tracks) for a in series[-1])
    how = (
        f"Preset `tiny`, {weights}, the model's own sampling: {turns} questions about the {len(samples)} clips of "
        f"`vglamm demo` ({len(first.frames) / first.fps:.1f} s of {first.frames.shape[1]} px, MP4), "
        f"{masked} objects masked, {rounds} rounds. Every question opens its clip anew."
    )
    rows = (Row("seconds of work for a second of video", Spread.of(factors), ""),)
    details = tuple((f"share of {stage}", f"{100 * share:.0f} %") for stage, share in shares.items())
    return Section("Real-time factor of `ask`", how, rows, details)
