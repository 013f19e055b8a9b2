"""Several dialogues about one video in one sequence: a shared prefix (system text and visual tokens) and branches that see it and
themselves but not each other. Trains like separate sequences at a fraction of the cost. Shapes: see :mod:`vglamm.model`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import DialogueError
from vglamm.language.dialogue import IGNORED, Dialogue


@dataclass(frozen=True)
class Packed:
    """ids, labels, positions: int64[L]. branch: int64[L], 0 for the prefix and 1, 2, ... for the branches. start: where the
    visual tokens begin. segs: positions that predict a ``[SEG]``, branch after branch."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    branch: NDArray[np.int64]
    start: int
    visual: int
    segs: tuple[int, ...]


def pack(dialogues: list[Dialogue]) -> Packed:
    """Dialogues about the same video, equal up to the end of their visual tokens. Otherwise DialogueError."""
    first = dialogues[0]
    cut = first.start + first.visual
    ids, labels = [first.ids[:cut]], [first.labels[:cut]]
    positions, branch, segs, at = [np.arange(cut)], [np.zeros(cut, np.int64)], [], cut
    for number, dialogue in enumerate(dialogues, start=1):
        if dialogue.start + dialogue.visual != cut or not np.array_equal(dialogue.ids[:cut], first.ids[:cut]):
            raise DialogueError(
                "dialogues with different prefixes", "the same system text and visual tokens", "pack one video at a time"
            )
        tail = len(dialogue.ids) - cut
        ids.append(dialogue.ids[cut:])
        labels.append(dialogue.labels[cut:])
        positions.append(np.arange(cut, cut + tail))
        branch.append(np.full(tail, number, np.int64))
        segs += [at + seg - cut for seg in dialogue.segs]
        at += tail
    joined = np.concatenate(labels)
    return Packed(
        np.concatenate(ids), joined, np.concatenate(positions), np.concatenate(branch), first.start, first.visual, tuple(segs)
    )


def visibility(branch: NDArray[np.int64]) -> NDArray[np.bool_]:
    """branch: int64[L] (-1 for padding) -> bool[L, L]: row sees column. Causal; a branch sees the prefix and itself."""
    causal = np.tri(len(branch), dtype=bool)
    same = branch[:, None] == branch[None]
    seen: NDArray[np.bool_] = causal & (same | (branch[None] == 0))
    return seen


def shifted_labels(packed: Packed) -> NDArray[np.int64]:
    """int64[L]: the id that each position has to predict, -100 where none: labels moved one to the left within their branch."""
    out = np.full_like(packed.labels, IGNORED)
    same = packed.branch[1:] == packed.branch[:-1]
    out[:-1][same] = packed.labels[1:][same]
    return out
