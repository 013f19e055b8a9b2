"""What fine-tuning learns from: draws from a mixture of sets as dialogues, frames and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.config import ModelConfig, at_least
from vglamm.data.corpora.case import Case
from vglamm.data.corpora.lessons import lesson
from vglamm.data.corpora.mixture import Mixture
from vglamm.errors import CorpusError
from vglamm.frames import choose, vision_input
from vglamm.language.dialogue import Scribe
from vglamm.pixel.prepare import prepare as prepare_pixel

Item = dict[str, Any]
_TRIES = 4


@dataclass(frozen=True)
class LessonPreparer:
    """id -> one video with the dialogues about it.

    frames: grounding frames that masks are learnt on, at most, drawn anew for each sample and in the order of time. questions: of
    one video, at most. The language model sees the frames that it would see if it were asked. Item: spatial, temporal (None for an
    image) and frames, uint8 as the parts take them; for each dialogue ids, labels, start, segs and masks int8[S, K, H, W] of the
    source's size, 1 inside, 0 outside, -1 ignored. Errors of the media or the masks of a case name its files.
    """

    config: ModelConfig
    scribe: Scribe
    mixture: Mixture
    frames: int = 5
    questions: int = 1

    def __post_init__(self) -> None:
        at_least(1, {"frames": self.frames, "questions": self.questions}, "fix settings of the recipe")

    def __call__(self, number: int) -> Item:
        rng = np.random.default_rng((number, 83))
        cases = self.mixture.cases(number, rng, self.questions)
        media, vision = cases[0].media, self.config.vision
        source = media.open()
        sampling = choose(source, self.config, **cases[0].frames.sampling())
        for case in cases:
            case.check(sampling.source_frames, sampling.size)
        seen = vision_input(source, sampling, self.config)
        chosen, masks = self._masks(cases, sampling.grounding_indices, rng)
        pixels = prepare_pixel(source.frames_at(chosen), self.config.pixel).frames
        visual, count = (vision.image_tokens, 0) if source.info.is_image else (vision.video_tokens, vision.frames)
        turns = [lesson(case, rng) for case in cases]
        taught = [self.scribe.teach([(turn.question, turn.answer)], visual=visual, frames=count) for turn in turns]
        return {
            "spatial": seen.spatial,
            "temporal": seen.temporal,
            "frames": pixels,
            "ids": [one.ids for one in taught],
            "labels": [one.labels for one in taught],
            "starts": [one.start for one in taught],
            "segs": [one.segs for one in taught],
            "masks": masks,
        }

    def _masks(
        self, cases: list[Case], grounding: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[tuple[int, ...], list[NDArray[np.int8]]]:
        """Frames to learn masks on, and the masks. Of a few draws the first that shows every object is taken, else the one that
        shows most: an object that is seen on no frame teaches little."""
        there = set(grounding).intersection(*(case.truth.shown for case in cases if case.truth.shown is not None))
        if not there:
            raise CorpusError(f"{cases[0].id} without a frame that is annotated", "at least one", "leave it out")
        best: tuple[float, tuple[int, ...], list[NDArray[np.int8]]] | None = None
        for _ in range(_TRIES):
            picked = rng.choice(sorted(there), min(self.frames, len(there)), replace=False)
            chosen = tuple(sorted(int(frame) for frame in picked))
            masks = [_targets(case, chosen) for case in cases]
            visible = [(mask == 1).any(axis=(1, 2, 3)).mean() for mask in masks]
            share = float(np.mean(visible))
            if best is None or share > best[0]:
                best = share, chosen, masks
            if share == 1 or len(chosen) == len(there):
                break
        assert best is not None
        return best[1], best[2]


def _targets(case: Case, frames: tuple[int, ...]) -> NDArray[np.int8]:
    masks = case.truth.masks(frames).astype(np.int8)
    ignored = case.truth.ignored(frames)
    if ignored is not None:
        masks[np.broadcast_to(ignored, masks.shape) & (masks == 0)] = -1
    return masks
