"""Records that cross a border between parts, processes or machines: numpy arrays and plain values, no torch.

Shapes use the legend of :mod:`vglamm.model`. Each record checks what it is given, so that a mistake shows at the border
where it happens and not three stages later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import MaskError, VideoError

Rle = dict[str, Any]
"""COCO run-length encoding: ``{"size": [H, W], "counts": str}`` (column-major, compressed)."""


def _expect_uint8(name: str, array: NDArray[Any], ndim: int) -> None:
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise VideoError(
            f"{name} as {array.dtype}{list(array.shape)}", f"uint8 with {ndim} axes", "pass frames as decoded, before normalisation"
        )


@dataclass(frozen=True)
class VisionInput:
    """What the vision part sees of one video or image, resized once on the CPU and still 8-bit.

    spatial: uint8[T, 3, h, w], 0..255, for the CLIP tower. temporal: uint8[T, 3, h', w'], for the InternVideo2 tower, or None
    for a single image (images never reach that tower).
    """

    spatial: NDArray[np.uint8]
    temporal: NDArray[np.uint8] | None

    def __post_init__(self) -> None:
        _expect_uint8("spatial frames", self.spatial, 4)
        if self.temporal is None:
            if len(self.spatial) != 1:
                raise VideoError(
                    f"{len(self.spatial)} frames without temporal frames", "one frame for an image", "pass temporal frames"
                )
            return
        _expect_uint8("temporal frames", self.temporal, 4)
        if len(self.temporal) != len(self.spatial):
            raise VideoError(
                f"{len(self.spatial)} spatial and {len(self.temporal)} temporal frames",
                "equal numbers",
                "prepare both from the same frames",
            )

    @property
    def is_image(self) -> bool:
        return self.temporal is None


@dataclass(frozen=True)
class VisualTokens:
    """Projected visual tokens of one video: [N, D] of float32, float16, or uint16 that holds the bits of bfloat16 (which numpy has
    no name for; ``torch.from_numpy(tokens).view(torch.bfloat16)`` reads them). ``frames`` is T, 0 for an image."""

    tokens: NDArray[Any]
    frames: int

    @property
    def is_image(self) -> bool:
        return self.frames == 0


@dataclass(frozen=True)
class PixelInput:
    """Grounding frames of one video: uint8[K, 3, h, w] with the longest side as the pixel part wants it.

    size: (H, W) of the source, the size of the masks. start: position of the first frame in the grounding sequence, so that a
    long video can come in chunks.
    """

    frames: NDArray[np.uint8]
    size: tuple[int, int]
    start: int = 0

    def __post_init__(self) -> None:
        _expect_uint8("grounding frames", self.frames, 4)


@dataclass(frozen=True)
class Phrase:
    """A phrase of an answer and the track that grounds it.

    text, start, end: the phrase and its character span in ``Answer.text``; all None when a ``[SEG]`` has no phrase of its own.
    track: index into ``Answer.tracks``.
    """

    text: str | None
    start: int | None
    end: int | None
    track: int


@dataclass(frozen=True)
class Reply:
    """What the language part says about one question.

    raw: the generated text with tags. text: without tags and ``[SEG]``. prompts: float32[S, C], one for each phrase, in order.
    tokens: ids generated. finish: "stop" (a stop id) or "length" (the token limit).
    """

    raw: str
    text: str
    phrases: tuple[Phrase, ...]
    prompts: NDArray[np.float32]
    tokens: tuple[int, ...]
    finish: str
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.phrases) != len(self.prompts):
            raise MaskError(
                f"{len(self.phrases)} phrases and {len(self.prompts)} prompts", "one prompt for each", "report this as a bug"
            )


@dataclass(frozen=True)
class Sight:
    """One object on one frame. rle: COCO RLE at source size, or None where it is not visible. box: [x0, y0, x1, y1] in source
    pixels (x1, y1 exclusive) or None. score: objectness in 0..1."""

    rle: Rle | None
    box: tuple[float, float, float, float] | None
    score: float


@dataclass(frozen=True)
class Marks:
    """What a person marks of one object, to correct its mask. position: of the frame in the grounding sequence.
    points: (x, y, whether the object is there). box: [x0, y0, x1, y1]. Both in source pixels, at least one of them. before: the
    mask that the points amend."""

    position: int
    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None
    before: Rle | None = None

    def __post_init__(self) -> None:
        if not self.points and self.box is None:
            raise MaskError("a correction without a mark", "a point or a box", "mark where the object is")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise MaskError(f"a box {list(self.box)}", "[x0, y0, x1, y1] with x0 < x1 and y0 < y1", "order its corners")


@dataclass(frozen=True)
class Track:
    """The mask of one phrase through time, one entry for each grounding frame.

    rle: COCO RLE at source size, or None where the object is not visible. boxes: [x0, y0, x1, y1] in source pixels (x1, y1
    exclusive) or None. scores: objectness in 0..1 for each frame. score: the mean of it over visible frames (0 if none).
    first, last: positions of the first and last visible frame, or None.
    """

    rle: tuple[Rle | None, ...]
    boxes: tuple[tuple[float, float, float, float] | None, ...]
    scores: tuple[float, ...]
    score: float
    first: int | None
    last: int | None

    def __post_init__(self) -> None:
        if not len(self.rle) == len(self.boxes) == len(self.scores):
            raise MaskError(
                f"{len(self.rle)} masks, {len(self.boxes)} boxes, {len(self.scores)} scores",
                "equal numbers",
                "build tracks with pixel.track",
            )


@dataclass(frozen=True)
class Sampling:
    """Which frames were used. Indices are into the decoded frames of the file, times are presentation times in seconds."""

    llm_indices: tuple[int, ...]
    llm_times: tuple[float, ...]
    grounding_indices: tuple[int, ...]
    grounding_times: tuple[float, ...]
    source_frames: int
    source_fps: float
    size: tuple[int, int]
    truncated: bool = False
