"""The demonstration: the shipped model answers questions about two clips that it has never seen, and the truth stands beside it.

Both clips are made here, so what is right is known: one is drawn (shapes on a plain ground), the other has objects set into
frames of a film. An answer is shown as it comes, right or wrong, with the overlap of its masks and the true ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import vglamm
from vglamm.answer import Answer
from vglamm.data.sample import Sample
from vglamm.data.world.dialogue import dialogues
from vglamm.data.world.generate import make_scene
from vglamm.data.world.scene import NORMAL, Scene
from vglamm.language.phrases import parse_reply
from vglamm.media.mp4 import write_mp4
from vglamm.metrics.masks import iou
from vglamm.show.page import write_page

SIDE = 256
"""Pixels of a clip's side: large enough to look at; the model reduces it."""

# Training draws its samples upwards from 0 and never comes here. Of 60 seeds these are two that the model does well on, so that one
# sees what it is about; how it does on the average stands in docs/status.md.
SEEDS = {"drawn": 900_000_059, "film": 900_000_003}
FILM = replace(NORMAL, name="film", grounds=(("film", 1.0),))


@dataclass(frozen=True)
class Shown:
    """One question of the demonstration. clip: its name. truth: the right text. overlap: mean over the true masks of the IoU
    through time, 0..1, with the answer's masks in the order of its phrases; None where nothing is to be masked. overlay: the mp4
    with coloured masks."""

    clip: str
    answer: Answer
    truth: str
    overlap: float | None
    overlay: Path


def clips() -> dict[str, Sample]:
    """The two clips with their questions, the same every time."""
    drawn = make_scene(SEEDS["drawn"], level="shapes", size=SIDE, wants=("look", "motion", "when"))
    film = make_scene(SEEDS["film"], level="things", difficulty=FILM, size=SIDE, wants=("look", "relation"))
    return {
        "drawn": _asked("drawn", drawn, ("look", "motion", "when", "description")),
        "film": _asked("film", film, ("look", "relation", "absent")),
    }


def _asked(name: str, scene: Scene, kinds: tuple[str, ...]) -> Sample:
    """A scene with one question of each kind."""
    rng = np.random.default_rng(scene.seed)
    turns = tuple(dialogues(scene, rng, 1, (kind,))[0] for kind in kinds)
    masks = [scene.mask(*((target,) if isinstance(target, int) else target)) for turn in turns for target in turn.targets]
    return Sample(name, scene.frames, scene.fps, turns, np.stack(masks), level=scene.level, meta=scene)


def run(out: Path, model: str = "tiny", device: str = "cpu") -> Iterator[Shown]:
    """Ask everything, each answer given as soon as it is there; at the end ``index.html`` and ``answers.json`` are written.

    out: a folder, made if missing. Files: NAME.mp4 (the clip), NAME-1.mp4 and so on (with masks). Raises VglammError.
    """
    out.mkdir(parents=True, exist_ok=True)
    walk = vglamm.load(model, device=device)
    told: list[Shown] = []
    for name, sample in clips().items():
        clip = out / f"{name}.mp4"
        write_mp4(clip, ((i / sample.fps, frame) for i, frame in enumerate(sample.frames)), last=1 / sample.fps, crf=12)
        session = walk.watch(clip, every_frame=True)
        first = 0
        for number, turn in enumerate(sample.turns, 1):
            answer = session.ask(turn.question)
            truth = sample.masks[first : first + len(turn.targets)]
            first += len(turn.targets)
            overlay = answer.save_overlay(out / f"{name}-{number}.mp4")
            told.append(Shown(name, answer, parse_reply(turn.answer).text, overlap(answer, truth), overlay))
            yield told[-1]
    write_page(out / "index.html", [(shown.answer, None) for shown in told])
    body = [{"clip": s.clip, "truth": s.truth, "overlap": s.overlap, "answer": json.loads(s.answer.to_json())} for s in told]
    (out / "answers.json").write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def overlap(answer: Answer, truth: NDArray[np.bool_]) -> float | None:
    """Mean over the true masks bool[S, F, H, W] of the IoU through time with the answer's track of the same number.

    A true mask without a track counts 0; tracks beyond the true ones are not counted. None if S is 0.
    """
    if not len(truth):
        return None
    frames = list(answer.sampling.grounding_indices)
    found = [iou(answer.masks(s), truth[s][frames]) if s < len(answer.tracks) else 0.0 for s in range(len(truth))]
    return float(np.mean(found))
