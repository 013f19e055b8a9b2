"""The record that every corpus yields: frames, a dialogue about them, and one mask through time for each ``[SEG]``.

numpy and plain values only. The record checks itself, so that a corpus whose texts and masks do not line up fails where it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import DialogueError, MaskError, VideoError

if TYPE_CHECKING:
    from vglamm.data.world.scene import Scene

SEG = "[SEG]"
PHRASE_OPEN, PHRASE_CLOSE = "<p>", "</p>"

Target = int | tuple[int, ...]
"""The object (or objects) that one ``[SEG]`` grounds: ids from 1."""


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    question, answer: text; the answer carries ``<p> phrase </p> [SEG]`` for each grounded phrase. kind: what is asked ("look",
    "motion", "relation", "description", "when", "absent" in the generated world; other corpora name their own). targets: the
    object ids of each ``[SEG]`` of the answer, in order.
    """

    question: str
    answer: str
    kind: str
    targets: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if not self.question.strip() or not self.answer.strip():
            raise DialogueError("an empty question or answer", "text in both", f"fix the {self.kind} turn of this corpus")
        if self.answer.count(SEG) != len(self.targets):
            raise DialogueError(
                f"{self.answer.count(SEG)} {SEG} in {self.answer!r} and {len(self.targets)} targets",
                "one target for each",
                "list the objects of each phrase in the order of the answer",
            )
        tags = [word for word in self.answer.split() if word in (PHRASE_OPEN, PHRASE_CLOSE)]
        if tags != [PHRASE_OPEN, PHRASE_CLOSE] * (len(tags) // 2):
            raise DialogueError(f"tags {tags} in {self.answer!r}", "<p> and </p> in turn", "close each phrase before the next one")


@dataclass(frozen=True)
class Sample:
    """One video or image with its dialogue.

    frames: uint8[F, H, W, 3], RGB; F is 1 for an image. fps: frames per second of ``frames``. masks: bool[S, F, H, W], visible
    pixels for each ``[SEG]`` of all turns in order. level: the corpus's own word for what is shown ("shapes", "things",
    "mixed", "film"). meta: the generated scene, or None.
    Raises DialogueError, MaskError or VideoError if these do not fit each other.
    """

    id: str
    frames: NDArray[np.uint8]
    fps: float
    turns: tuple[Turn, ...]
    masks: NDArray[np.bool_]
    is_image: bool = False
    level: str = "film"
    meta: Scene | None = None

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[0] < 1:
            raise VideoError(f"frames as {self.frames.dtype}{list(shape)}", "uint8[F, H, W, 3], F >= 1", "decode to RGB")
        if self.is_image and shape[0] != 1:
            raise VideoError(f"an image of {shape[0]} frames", "one frame", "pass is_image=False for a video")
        if self.fps <= 0:
            raise VideoError(f"fps {self.fps}", "a positive number", "pass 1.0 for an image")
        if not self.turns:
            raise DialogueError("no turns", "at least one question", "drop the sample")
        wanted = sum(len(turn.targets) for turn in self.turns)
        if self.masks.dtype != np.bool_ or self.masks.shape != (wanted, *shape[:3]):
            raise MaskError(
                f"masks as {self.masks.dtype}{list(self.masks.shape)} for {wanted} {SEG}",
                f"bool{[wanted, *shape[:3]]}",
                "give one mask through time for each [SEG], turn after turn",
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])
