"""What language is asked beside its answers: of each visual token of which frame it is, which nothing but its position tells; of
each phrase and its ``[SEG]``, in whatever answer they stand, when the object is there, how it moves, and what tells it from one
that looks like it; and where an answer says numbers of frames, these alone.

An answer about time says two numbers and a description has three or four places to go on from, so that of answers alone little is
learnt of either; every prompt of a video can carry all of it. Items: see :class:`vglamm.objectives.questions.QuestionPreparer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vglamm.data.world.dialogue import clear_motion, look_phrase
from vglamm.data.world.scene import Scene, WorldObject
from vglamm.data.world.words import LLM_FRAMES, MOTIONS, SIZES, TEXTURES
from vglamm.errors import ConfigError
from vglamm.language.lm import Language
from vglamm.objectives.segmentation import mean_of
from vglamm.vision.config import VisionConfig


def frame_numbers(vision: VisionConfig) -> Tensor:
    """int64[N]: the frame of each visual token of a video, as :class:`vglamm.vision.encoder.Vision` lays them out."""
    sides = (vision.spatial_pool, vision.temporal_pool)
    return torch.cat([torch.arange(vision.frames).repeat_interleave(side**2) for side in sides])


def frames_said(
    language: Language, vision: VisionConfig, halfway: Tensor, items: Sequence[dict[str, Tensor]], digits: list[int]
) -> Tensor:
    """Cross-entropy, summed over all tokens of videos that show something of an object: each says the number of its frame, by the
    words of the head half way through the layers, so that the other half can read it.

    halfway: float[B, L, D]. items: ``start``, ``shown`` and ``image`` of each row. digits: ids of the numbers of frames.
    """
    numbers = frame_numbers(vision).to(halfway.device)
    hidden, frames = [halfway[:0, 0]], [numbers[:0]]
    for row, item in enumerate(items):
        if len(item["shown"]) == len(numbers) and not bool(item["image"]):  # not blind
            start = int(item["start"])
            hidden.append(halfway[row, start : start + len(numbers)][item["shown"]])
            frames.append(numbers[item["shown"]])
    head = language.lm.get_output_embeddings().weight[digits]
    return functional.cross_entropy(
        functional.linear(language.trunk.norm(torch.cat(hidden)), head).float(), torch.cat(frames), reduction="sum"
    )


@dataclass(frozen=True)
class Aside:
    """A question with one of a few words for an answer.

    name: what is asked, and ``asked_NAME`` the place of the right word for each object. where: the positions that are asked:
    "segs", the states that predict a ``[SEG]``, "early", what stands before anything is said of an object, or "said_NAME", what
    predicts the word where an answer says it. meant: which objects these mean. after: tokens after these positions. usual: the
    place of the word that is right of most objects; it weighs less, and no share is told of it.
    """

    name: str
    words: tuple[str, ...]
    where: str
    meant: str = "meant"
    after: int = 0
    usual: int = -1


_USUAL = 0.3  # else the first thing that is learnt of rare words is to say none of them
_NUMBERS = tuple(str(number) for number in range(LLM_FRAMES + 1))
ASIDES = (
    Aside("first", _NUMBERS, "segs", usual=0),
    Aside("end", _NUMBERS, "segs", after=1, usual=LLM_FRAMES),
    Aside("motion", tuple(f" {motion.split()[-1]}" for motion in MOTIONS), "segs", after=1),
    Aside("mark", (" no", *(f" {word}" for word in (*TEXTURES, *SIZES))), "early", "early_meant", usual=0),
)
"""First frame and one past the last, how an object moves, and the word that tells it from one that looks like it ("no": none)."""
TIMES = (
    Aside("first", _NUMBERS, "said_first", "timed", usual=0),
    Aside("end", _NUMBERS, "said_end", "timed", usual=LLM_FRAMES),
)
"""The same numbers where an answer says them."""


def asked(scene: Scene) -> dict[str, NDArray[np.int64]]:
    """``asked_NAME`` int64[O] of each aside: the place of the right word for each object; -1 where it is not asked of it."""
    rows = np.array([_asked(scene, item) for item in scene.objects], dtype=np.int64).reshape(-1, len(ASIDES))
    return {f"asked_{aside.name}": rows[:, place] for place, aside in enumerate(ASIDES)}


def _asked(scene: Scene, item: WorldObject) -> tuple[int, ...]:
    seen = [number for number, frame in enumerate(scene.llm_frames) if item.visible[frame]]
    first, end = (seen[0], seen[-1] + 1) if seen and not scene.is_image else (-1, -1)
    motion = MOTIONS.index(item.motion) if not scene.is_image and clear_motion(scene, item) else -1
    marks = (look_phrase(scene, item) or item.base).removesuffix(item.base).split()
    return first, end, motion, 1 + (*TEXTURES, *SIZES).index(marks[0]) if marks else 0


def word_ids(tokenizer: Any) -> dict[str, list[int]]:
    """The ids of the words of each aside, by its name."""
    return {aside.name: [_word_id(tokenizer, word) for word in aside.words] for aside in ASIDES}


def _word_id(tokenizer: Any, word: str) -> int:
    found: list[int] = tokenizer.encode(word, add_special_tokens=False)
    if len(found) != 1:
        raise ConfigError(
            f"{word!r} in {len(found)} tokens", "a tokenizer with a token for it", "leave out asides, times and frames"
        )
    return found[0]


def words_asked(asides: Sequence[Aside], items: Sequence[dict[str, Tensor]]) -> int:
    """Words that :func:`words_told` asks for."""
    return sum(int((_aims(aside, item) >= 0).sum()) for item in items for aside in asides)


def words_told(
    asides: Sequence[Aside], language: Language, hidden: Tensor, items: Sequence[dict[str, Tensor]], ids: dict[str, list[int]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy, summed over all words that are asked for, by the words of the head that could be the answer; and by aside the
    share told right.

    hidden: float[B, L, D], last. ids: :func:`word_ids`.
    """
    head = language.lm.get_output_embeddings().weight
    loss, shares = hidden.sum() * 0, {}
    for aside in asides:
        states, aims = [], []
        for row, item in enumerate(items):
            aim = _aims(aside, item)
            states.append(hidden[row, item[aside.where][aim >= 0] + aside.after])
            aims.append(aim[aim >= 0])
        aim = torch.cat(aims)
        told = functional.linear(torch.cat(states), head[ids[aside.name]]).float()
        odd = aim != aside.usual
        loss = loss + (functional.cross_entropy(told, aim, reduction="none") * torch.where(odd, 1.0, _USUAL)).sum()
        if bool(odd.any()):
            shares[aside.name] = mean_of((told.argmax(-1) == aim)[odd])
    return loss, shares


def _aims(aside: Aside, item: dict[str, Tensor]) -> Tensor:
    return item[f"asked_{aside.name}"][item[aside.meant]]
