"""Which frames of a video are used, and how they become the inputs of the parts. Runs on the CPU; no model is needed.

Every driver goes through these functions, so that the same video gives the same frames everywhere. A choice is a
:class:`~vglamm.records.Sampling`, which travels with the answer: nothing is thinned silently.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from vglamm.config import ModelConfig, SamplingConfig
from vglamm.errors import VideoFrameError
from vglamm.media.limits import Limits
from vglamm.media.read import VideoSource, open_video, picture_of
from vglamm.media.sample import at_rate, evenly, published_grounding
from vglamm.pixel.prepare import prepare as prepare_pixel
from vglamm.records import PixelInput, Sampling, VisionInput
from vglamm.vision.prepare import prepare as prepare_vision

Video = str | os.PathLike[str] | NDArray[np.uint8] | Image | VideoSource
"""A path, frames uint8[F, H, W, 3] with their rate, an image uint8[H, W, 3] or of Pillow, or an opened video."""


def open_frames(video: Video, *, fps: float | None = None, limits: Limits | None = None) -> VideoSource:
    """Open what a user may pass. fps: the rate of an array of frames. Errors are those of :func:`vglamm.media.read.open_video`."""
    if isinstance(video, VideoSource):
        return video
    if isinstance(video, Image):
        video = picture_of(video, limits)
    if isinstance(video, np.ndarray) and video.ndim == 3:
        image = open_video(video[None], limits, fps=1.0)
        image.info = replace(image.info, is_image=True, fps=0.0, seconds=0.0)
        return image
    return open_video(video, limits, fps=None if fps is not None and math.isinf(fps) else fps)


def choose(
    source: VideoSource,
    config: ModelConfig,
    *,
    fps: float | None = None,
    every_frame: bool = False,
    limit: int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Sampling:
    """The grounding frames of a video, and of them, evenly, the T frames that the language model sees.

    fps: grounding frames per second by presentation time; infinity, or ``every_frame``, takes all. Without either, the config's
    rule holds, which as published takes every ``round(average fps)``-th frame and at most 64. limit: grounding frames at most,
    None for as many as the rule gives. start, end: seconds since the first frame, whose own time need not be 0 (a segment of a
    stream goes on where the one before ended); only frames shown from ``start`` on and before ``end``. Times in the choice are
    those of the file. Raises VideoFrameError if no frame is left or a number is out of range.
    """
    for name, value, kind in (("fps", fps, Real), ("start", start, Real), ("end", end, Real), ("limit", limit, Integral)):
        if value is not None and not isinstance(value, kind):
            raise VideoFrameError(
                f"{name} {value!r}", "a whole number" if kind is Integral else "a number", "leave it out, or mend it"
            )
    inside = _between(source.times, start, end)
    picked = _grounding(source.times[inside], source.info.fps, config.sampling, math.inf if every_frame else fps, limit)
    grounding = tuple(int(inside[i]) for i in picked)
    if source.info.is_image:
        shown: tuple[int, ...] = (grounding[0],)
    else:
        shown = tuple(grounding[i] for i in evenly(len(grounding), config.vision.frames))
    return Sampling(
        llm_indices=shown,
        llm_times=tuple(float(source.times[i]) for i in shown),
        grounding_indices=grounding,
        grounding_times=tuple(float(source.times[i]) for i in grounding),
        source_frames=len(source),
        source_fps=float(source.info.fps),
        size=(source.info.height, source.info.width),
        truncated=source.truncated,
    )


def _between(times: NDArray[np.float64], start: float | None, end: float | None) -> NDArray[np.int64]:
    low, high = -math.inf if start is None else start, math.inf if end is None else end
    since = times - times[0]
    inside = np.flatnonzero((since >= low) & (since < high)).astype(np.int64)
    if not len(inside):
        span = f"a span that meets 0 to {since[-1]:g} s, counted from the first frame"
        raise VideoFrameError(f"no frame from {low:g} to {high:g} s", span, "move start or end")
    return inside


def _grounding(
    times: NDArray[np.float64], average: float, config: SamplingConfig, fps: float | None, limit: int | None
) -> tuple[int, ...]:
    if fps is not None:
        return at_rate(times, fps, limit)
    limit = config.limit if limit is None else limit
    if config.fps is not None:
        return at_rate(times, config.fps, limit)
    return published_grounding(len(times), average, len(times) if limit is None else limit)


def vision_input(source: VideoSource, sampling: Sampling, config: ModelConfig) -> VisionInput:
    """The frames that the language model sees, decoded sparsely and resized."""
    return prepare_vision(source.frames_at(sampling.llm_indices), config.vision, image=source.info.is_image)


def grounding_source(source: VideoSource, sampling: Sampling, config: ModelConfig) -> Callable[[int, int], Iterator[PixelInput]]:
    """The grounding frames ``first`` .. ``stop - 1`` in chunks of ``pixel.chunk``, decoded and resized when they are asked for."""

    def chunks(first: int, stop: int) -> Iterator[PixelInput]:
        at = first
        for _, frames in source.stream(sampling.grounding_indices[first:stop], chunk=config.pixel.chunk):
            yield prepare_pixel(frames, config.pixel, start=at)
            at += len(frames)

    return chunks


def end_of(source: VideoSource, end: float | None = None) -> float:
    """When what was looked at of a video ends, in seconds of presentation time.

    That is when its last frame disappears (that frame's own time if the rate is unknown), or ``end``, that of :func:`choose`, if
    it comes before: a frame that is still shown then is cut there, since nothing is known of what comes after.
    """
    shown = 1 / source.info.fps if source.info.fps > 0 else 0.0
    last = float(source.times[-1]) + shown
    return last if end is None else min(last, float(source.times[0]) + end)
