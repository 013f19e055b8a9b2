"""Pictures and videos of an answer: masks in the colours of their phrases, names beside the objects, the text below.

Only the grounding frames are shown, each at its own time: a mask is never drawn on a frame it was not made for. Frames are
taken, painted and written in chunks, so memory does not grow with the length of the video.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vglamm.errors import VideoFrameError
from vglamm.media import rle
from vglamm.media.mp4 import write_mp4
from vglamm.media.read import VideoSource, open_video, picture_of
from vglamm.show import legend
from vglamm.show.colours import Colour, colour

if TYPE_CHECKING:
    from vglamm.answer import Answer

Video = VideoSource | str | os.PathLike[str] | NDArray[np.uint8] | Image.Image
"""Where frames come from: an opened video, a path, uint8[F, H, W, 3], or one image, uint8[H, W, 3] or of Pillow."""

ALPHA = 0.5
"""How much of the colour covers the object: what it is must stay visible."""

SIDES = (640, 1920)
"""Longest side of a picture: smaller ones are enlarged so that text can be read, larger ones reduced so that players cope."""


def path_of(video: Video) -> str | None:
    """The file that frames come from, or None if they are in memory."""
    if isinstance(video, VideoSource):
        return video.info.path
    return os.fspath(video) if isinstance(video, str | os.PathLike) else None


def grounding_frames(answer: Answer, video: Video | None = None, chunk: int = 8) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(position, uint8[H, W, 3]) of each grounding frame of an answer, in order; at most `chunk` frames in memory.

    video: None opens ``answer.source``. An array holds all frames of the source, or only the grounding frames.
    Raises VideoError if the source cannot be read, VideoFrameError if it is another size or too short, or was an array.
    """
    indices = answer.sampling.grounding_indices
    if not indices:
        raise VideoFrameError("an answer without grounding frames", "at least one", "sample them also for a reply without [SEG]")
    if isinstance(video, Image.Image):
        video = picture_of(video)
    if isinstance(video, np.ndarray):
        video = video[np.newaxis] if video.ndim == 3 else video
        chosen = range(len(indices)) if len(video) == len(indices) else indices
        if any(index >= len(video) for index in chosen):
            raise VideoFrameError(
                f"{len(video)} frames", f"{len(indices)} or {answer.sampling.source_frames}", "pass the frames that were asked"
            )
        frames = (video[index] for index in chosen)
    else:
        source = video if isinstance(video, VideoSource) else open_video(answer.source if video is None else video)
        frames = (frame for _, several in source.stream(indices, chunk) for frame in several)
    for position, frame in enumerate(frames):
        if frame.shape != (*answer.sampling.size, 3) or frame.dtype != np.uint8:
            raise VideoFrameError(
                f"a frame as {frame.dtype}{list(frame.shape)}",
                f"uint8{[*answer.sampling.size, 3]}",
                "pass the video that was asked",
            )
        yield position, frame


def last_duration(answer: Answer) -> float:
    """Seconds to show the last grounding frame: as long as most others, or one frame of the source."""
    steps = np.diff(answer.sampling.grounding_times)
    if len(steps):
        return float(np.median(steps))
    return 1.0 / answer.sampling.source_fps if answer.sampling.source_fps > 0 else 1.0


def key_position(answer: Answer) -> int:
    """The grounding frame that shows most: most tracks, then the largest smallest one of them, then the earliest."""
    frames = len(answer.sampling.grounding_indices)
    areas = np.array([rle.areas(track.rle) for track in answer.tracks], dtype=np.int64).reshape(len(answer.tracks), frames)
    if not areas.size:
        return 0
    shown = (areas > 0).sum(axis=0)
    smallest = np.where(areas > 0, areas, np.iinfo(np.int64).max).min(axis=0)
    best = max(range(areas.shape[1]), key=lambda k: (shown[k], smallest[k] if shown[k] else 0, -k))
    return int(best)


class Painter:
    """Paints the frames of one answer. ``size``: (height, width) of a painted frame with its legend, both even."""

    def __init__(self, answer: Answer, alpha: float = ALPHA) -> None:
        self.answer, self.alpha = answer, alpha
        self.picture = fit(answer.sampling.size, *SIDES)
        self.unit = int(np.clip(round(min(self.picture) / 30), 14, 36))
        self.panel = legend.panel(answer, self.picture[1], self.picture[0], self.unit)
        self.tags = [legend.tag(name, colour(track), self.unit) for track, name in enumerate(legend.names(answer))]
        self.size = (self.picture[0] + len(self.panel), self.picture[1])

    def paint(self, frame: NDArray[np.uint8], position: int) -> NDArray[np.uint8]:
        """uint8[H, W, 3], the grounding frame at `position` -> uint8[h, w, 3] with masks, names and legend."""
        masks = rle.decode([track.rle[position] for track in self.answer.tracks], self.answer.sampling.size)
        canvas = resize_frame(frame, self.picture)
        scaled = [resize_mask(mask, self.picture) for mask in masks]
        # large objects first, so that a small one in front of a large one stays on top
        for track in sorted(range(len(scaled)), key=lambda index: -int(scaled[index].sum())):
            draw_mask(canvas, scaled[track], colour(track), self.alpha, max(2, self.unit // 7))
        return np.concatenate([self._named(canvas, scaled), self.panel])

    def _named(self, canvas: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
        image, taken = Image.fromarray(canvas), list[tuple[int, int, int, int]]()
        for tag, box in zip(self.tags, rle.boxes_of_masks(np.stack(masks)) if masks else [], strict=True):
            if box is not None:
                spot = _free_spot(tag.size, box, image.size, taken)
                taken.append((*spot, spot[0] + tag.width, spot[1] + tag.height))
                image.paste(tag, spot, tag)
        return np.asarray(image)


def write_video(path: Path, answer: Answer, video: Video | None = None, alpha: float = ALPHA, chunk: int = 8) -> None:
    """Write the grounding frames with masks, names and legend as MP4 (H.264, plays in browsers) at their original times."""
    painter, times = Painter(answer, alpha), answer.sampling.grounding_times
    frames = ((times[position], painter.paint(frame, position)) for position, frame in grounding_frames(answer, video, chunk))
    write_mp4(path, frames, last_duration(answer))


def write_image(path: Path, answer: Answer, video: Video | None = None, alpha: float = ALPHA) -> None:
    """Write the image, or the frame of a video that shows most, with masks, names and legend as PNG."""
    wanted = key_position(answer)
    frame = next(frame for position, frame in grounding_frames(answer, video) if position == wanted)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        Image.fromarray(Painter(answer, alpha).paint(frame, wanted)).save(part, format="PNG")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def fit(size: tuple[int, int], least: int, most: int) -> tuple[int, int]:
    """(height, width), even, in the same ratio, with the longest side within `least`..`most` pixels."""
    longest = max(size)
    scale = np.clip(longest, least, most) / longest
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size)
    return height, width


def resize_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8[H, W, 3] -> uint8[h, w, 3], a copy that may be written to."""
    if frame.shape[:2] == size:
        return frame.copy()
    return np.array(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC))


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """bool[H, W] -> bool[h, w]: the half level of a bilinear resize, which keeps edges smooth."""
    if mask.shape == size:
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(grey) > 127


def draw_mask(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], shade: Colour, alpha: float, line: int) -> None:
    """Draw a mask, bool[h, w], on uint8[h, w, 3] in place: a tint, a full edge of `line` pixels, and a dark rim outside it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    part = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    inside, pixels = mask[part], canvas[part]
    core, grown = ~_grow(~inside, line), _grow(inside, 1)
    pixels[grown & ~inside] = pixels[grown & ~inside] // 3
    pixels[inside & ~core] = shade
    for channel, full in enumerate(shade):  # a table for each channel: several times faster than blending floats
        tinted = np.rint(np.arange(256) * (1 - alpha) + full * alpha).astype(np.uint8)
        np.copyto(pixels[..., channel], tinted[pixels[..., channel]], where=core)


def _grow(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Dilate by `steps` pixels, to four sides."""
    for _ in range(steps):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _free_spot(
    tag: tuple[int, int], box: rle.Box, canvas: tuple[int, int], taken: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int]:
    """Left and top for a name of size `tag` (w, h): above its object, else inside, else below, clear of other names if possible."""
    width, height = tag
    left = int(np.clip((box[0] + box[2] - width) / 2, 0, max(canvas[0] - width, 0)))
    tops = [int(box[1]) - height - 3, int(box[1]) + 4, int(box[3]) + 3, *range(int(box[1]) + 4, canvas[1] - height, height + 2)]
    spots = [top for top in tops if 0 <= top <= canvas[1] - height] or [0]
    for top in spots:
        if all(left >= x1 or left + width <= x0 or top >= y1 or top + height <= y0 for x0, y0, x1, y1 in taken):
            return left, top
    return left, spots[0]
