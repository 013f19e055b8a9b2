"""The endpoint against one process: what the split layout adds to an answer, and what it gains when many ask."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from benchmarks.bulk import rays
from benchmarks.bulk.footage import write_clips
from benchmarks.bulk.model import resolved
from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section
from benchmarks.serving.endpoint import Endpoint, served, small
from serve.contract import Ask, Done, Watching
from vglamm import checkpoint
from vglamm.config import ModelConfig
from vglamm.media.guarded import open_guarded
from vglamm.media.read import VideoSource
from vglamm.walk import Walk, load

BASE, PER_MB = 25.0, 1.2
"""Milliseconds that four deployments may add, and that a megabyte between them may."""
CLIENTS, GAIN = 8, 1.4
QUESTION = "What is there?"


def run(*, rounds: int, model: str = "tiny", answers: int = 24) -> Section:
    with tempfile.TemporaryDirectory(prefix="vglamm-bench-") as scratch:
        folder = Path(scratch)
        source, what = resolved(model, folder / "model")
        [clip] = write_clips(folder, 1)
        with rays.one_node():
            return _measure(source, what, clip, rounds, answers)


def _measure(source: str, what: str, clip: Path, rounds: int, answers: int) -> Section:
    from ray import serve as ray_serve

    ask = Ask(clip.name, QUESTION, Watching(every_frame=True))
    ray_serve.start(proxy_location="Disabled")
    walk = load(source)
    try:
        with closing(open_guarded(clip)) as film, served(source, clip.parent, small(), app="bench") as endpoint:
            told: list[tuple[Done, float, float]] = []
            frames: list[float] = []
            arms = {
                "one process": lambda: frames.append(walk.ask(film, QUESTION, every_frame=True).timings["pixel"]),
                "split": lambda: told.append(through(endpoint, ask)),
            }
            for arm in arms.values():
                arm()  # what is loaded and opened at a first request is not measured
            told.clear()
            frames.clear()
            seconds = interleaved(arms, rounds)
            rates = [(loop(walk, film, answers), crowd(endpoint, replace(ask, live=False), answers)) for _ in range(rounds)]
    finally:
        ray_serve.shutdown()
    count = len(told[0][0].answer.sampling.grounding_indices)
    megabytes = crossing(checkpoint.load_config(source), count) / 1e6
    added = [1000 * (b - a) for a, b in zip(seconds["one process"], seconds["split"], strict=True)]
    goal = BASE + PER_MB * megabytes
    late = [(first - text) * count / pixel for (first, text), pixel in zip(map(_mask_times, told), frames, strict=True)]
    rows = (
        Row("latency that the split layout adds", Spread.of(added), " ms", at_most=goal),
        Row(
            f"answers/s, {CLIENTS} clients of the split layout / one loop in one process",
            ratios(*_columns(rates)),
            "x",
            at_least=GAIN,
        ),
        Row("first mask after the end of the text, in frames' times", Spread.of(late), "", at_most=1.0),
    )
    how = (
        f"Model: {what}. One clip of {count} grounding frames, opened before on both sides, {rounds} rounds, one torch thread "
        f"everywhere, one replica of each part on this machine. Between deployments go {megabytes:.1f} MB a question, so the goal "
        f"of the first row is {BASE:g} ms + {PER_MB:g} ms/MB. A frame's time is what one process takes for it, trunk and tracking. "
        f"{answers} answers for each rate."
    )
    details = [(f"{name}: an answer", Spread.of(found).text(" s")) for name, found in seconds.items()]
    details += [("answers/s, one loop", Spread.of([one for one, _ in rates]).text(""))]
    details += [(f"answers/s, {CLIENTS} clients", Spread.of([many for _, many in rates]).text(""))]
    details += [("one process: a frame", Spread.of([1000 * pixel / count for pixel in frames]).text(" ms"))]
    details += [("time to first token", Spread.of([done.first_token_s for done, _, _ in told]).text(" s"))]
    return Section("The endpoint", how, rows, tuple(details))


def crossing(config: ModelConfig, frames: int) -> int:
    """Bytes between deployments for one question about a square video: frames for both, visual tokens."""
    vision, pixel = config.vision, config.pixel
    seen = 3 * vision.frames * (vision.spatial.image_size**2 + vision.temporal.image_size**2)
    return seen + 4 * vision.video_tokens * config.language.width + 3 * frames * pixel.longest**2


def through(endpoint: Endpoint, ask: Ask) -> tuple[Done, float, float]:
    """The end of an answer; seconds from its beginning to the last text and to the last mask, by the ingress's clock."""
    told: tuple[Done, float, float] = endpoint.handle.answer.remote(ask).result()
    return told


def _mask_times(told: tuple[Done, float, float]) -> tuple[float, float]:
    """Seconds to the first mask and to the end of the text."""
    done, text, _ = told
    assert done.first_mask_s is not None, "the model grounds what it says"
    return done.first_mask_s, text


def loop(walk: Walk, film: VideoSource, answers: int) -> float:
    """Answers per second of one question after the other, in one process."""
    began = time.perf_counter()
    for _ in range(answers):
        walk.ask(film, QUESTION, every_frame=True)
    return answers / (time.perf_counter() - began)


def crowd(endpoint: Endpoint, ask: Ask, answers: int) -> float:
    """Answers per second of :data:`CLIENTS` at a time."""
    left = iter(range(answers))

    async def client() -> None:
        while next(left, None) is not None:
            await endpoint.handle.answer.remote(ask)

    async def everyone() -> None:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    began = time.perf_counter()
    asyncio.run(everyone())
    return answers / (time.perf_counter() - began)


def _columns(rates: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [many for _, many in rates], [one for one, _ in rates]
