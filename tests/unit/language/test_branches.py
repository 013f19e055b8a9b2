"""Packed branches train like separate sequences: same hidden states, same supervised tokens, same prompt positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.errors import DialogueError
from vglamm.language.branches import pack, shifted_labels, visibility
from vglamm.language.dialogue import IGNORED, Dialogue, Scribe
from vglamm.language.lm import Language
from vglamm.presets import preset

TURNS = [
    [("Where is the red circle?", "It is <p> the red circle </p> [SEG].")],
    [("Show the dog.", "Here is <p> the dog </p> [SEG]."), ("Describe the video.", "There is <p> a dog </p> [SEG].")],
    [("Where is the cat?", "There is no cat in the video.")],
]


@pytest.fixture(scope="module")
def language() -> Language:
    torch.manual_seed(0)
    return Language(preset("tiny").language).eval()


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    scribe = Scribe(build_tokenizer(), preset("tiny").language)
    return [scribe.teach(turns, visual=20, frames=8) for turns in TURNS]


def test_branches_see_what_separate_sequences_see(language: Language, dialogues: list[Dialogue]) -> None:
    packed = pack(dialogues)
    tokens = torch.randn(20, 192, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        inputs = language.fuse(language.embed(torch.from_numpy(packed.ids)[None]), [tokens], [packed.start])
        seen = torch.from_numpy(visibility(packed.branch))[None, None]
        [together], _ = language.branched(inputs, seen, torch.from_numpy(packed.positions)[None])
        for number, dialogue in enumerate(dialogues, start=1):
            ids = torch.from_numpy(dialogue.ids)[None]
            alone = language(ids, torch.ones_like(ids), [tokens], [dialogue.start])[0]
            cut = dialogue.start + dialogue.visual
            torch.testing.assert_close(together[packed.branch == number], alone[cut:], atol=2e-5, rtol=1e-4)


def test_labels_and_prompts_move_with_their_branch(dialogues: list[Dialogue]) -> None:
    packed = pack(dialogues)
    labels = shifted_labels(packed)
    assert int((labels != IGNORED).sum()) == sum(int((d.labels[1:] != IGNORED).sum()) for d in dialogues)
    assert len(packed.segs) == 3
    assert all(labels[seg] == preset("tiny").language.seg_token for seg in packed.segs)


def test_a_branch_never_sees_another(dialogues: list[Dialogue]) -> None:
    packed = pack(dialogues)
    seen = visibility(packed.branch)
    first, second = np.flatnonzero(packed.branch == 1), np.flatnonzero(packed.branch == 2)
    assert not seen[np.ix_(second, first)].any()
    assert seen[np.ix_(second, np.flatnonzero(packed.branch == 0))].all()
    padded = visibility(np.concatenate([packed.branch, [-1]]))
    assert not padded[: len(packed.branch), -1].any()


def test_other_prefixes_are_refused(dialogues: list[Dialogue]) -> None:
    scribe = Scribe(build_tokenizer(), preset("tiny").language)
    with pytest.raises(DialogueError, match="prefix"):
        pack([dialogues[0], scribe.teach(TURNS[0], visual=21, frames=8)])
