"""What language is asked beside its answers: of each visual token of which frame it is, which nothing but its position tells; of
each ``[SEG]``, in whatever answer it stands, when its object is there and what stands right of it.

An answer about time says two numbers and a description has three or four places to go on from, so that of answers alone little is
learnt of either; every prompt of a video can carry both. Items: see :class:`vglamm.objectives.questions.QuestionPreparer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vglamm.language.lm import Language
from vglamm.objectives.judged import judged
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


def moments_asked(items: Sequence[dict[str, Tensor]]) -> int:
    """Numbers that :func:`moments_told` asks for: two for each prompt of a video whose object is seen."""
    return sum(2 * int((item["spans"][item["meant"], 0] >= 0).sum()) for item in items)


def moments_told(
    language: Language, hidden: Tensor, items: Sequence[dict[str, Tensor]], marks: list[int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy, summed: the state that predicts a ``[SEG]`` tells the first frame of its object and the state of ``[SEG]`` one
    past its last, by the words of the head; and the share told right of those that are inside a video, not at its ends.

    hidden: float[B, L, D], last. marks: ids of the words for 0 to the number of frames.
    """
    states, aims = [hidden[:0, 0]], [items[0]["spans"][:0, 0]]
    for row, item in enumerate(items):
        spans_S2 = item["spans"][item["meant"]]
        asked = spans_S2[:, 0] >= 0
        for side in (0, 1):
            states.append(hidden[row, item["segs"][asked] + side])
            aims.append(spans_S2[asked, side])
    aim = torch.cat(aims)
    told = functional.linear(torch.cat(states), language.lm.get_output_embeddings().weight[marks]).float()
    inside = (aim > 0) & (aim < len(marks) - 1)
    shares = {"inside": mean_of((told.argmax(-1) == aim)[inside])} if bool(inside.any()) else {}
    return functional.cross_entropy(told, aim, reduction="sum"), shares


def neighbours_asked(items: Sequence[dict[str, Tensor]]) -> int:
    """Prompts that :func:`neighbours_shown` asks for."""
    return sum(int((item["right"][item["meant"]] >= 0).sum()) for item in items)


def neighbours_shown(language: Language, hidden: Tensor, items: Sequence[dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error, summed: read as a prompt, the state of a ``[SEG]`` is the code of what stands next to the right of its object,
    zeros if nothing does; and by kind how many have, of all codes of their scene and zeros, the right one nearest.

    hidden: float[B, L, D], last.
    """
    prompts, beside = [], []
    for row, item in enumerate(items):
        right_S = item["right"][item["meant"]]
        asked = right_S >= 0
        prompts.append(language.prompts_at(hidden[row, item["segs"][asked] + 1]).float())
        nothing = torch.zeros_like(item["codes"][:1])
        beside.append({"codes": torch.cat([item["codes"], nothing]), "right": right_S[asked], "kinds": item["meant_kinds"][asked]})
    return judged(prompts, beside, "right", "kinds")
