"""Clips to try the page with: three of the generated world, which the tiny model knows, and a piece of a film, which it does not.

They are made when first asked for, the same every time; the page uploads a picked one like any other file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.dialogue import dialogues
from vglamm.data.world.generate import FPS, make_scene
from vglamm.data.world.ground import film_frames
from vglamm.data.world.scene import EASY, NORMAL, Difficulty, Scene
from vglamm.media.mp4 import write_mp4

SIDE, FRAMES = 256, 24
FILM_SIDE = 128
"""Pixels of a generated clip's side and its frames; the film is a little more than its side high and twice as wide."""

FILM_CREDIT = "Big Buck Bunny, (c) 2008 Blender Foundation, bigbuckbunny.org, CC BY 3.0"


@dataclass(frozen=True)
class Clip:
    """One clip. questions: some that fit it. size: (height, width). credit: whom it is by, if not made here. content: MP4."""

    name: str
    title: str
    questions: tuple[str, ...]
    seconds: float
    size: tuple[int, int]
    credit: str | None
    content: bytes


@dataclass(frozen=True)
class Plan:
    """A clip to draw. Training draws its seeds upwards from 0 and never comes to this one."""

    name: str
    title: str
    seed: int
    level: str
    difficulty: Difficulty
    kinds: tuple[str, ...]
    credit: str | None = None

    def scene(self) -> Scene:
        """Everything about the clip, the same every time."""
        return make_scene(
            self.seed, level=self.level, difficulty=self.difficulty, frames=FRAMES, size=SIDE, wants={"look", "motion", *self.kinds}
        )


_OVER_FILM = replace(NORMAL, name="film", grounds=(("film", 1.0),))
DRAWN = (
    Plan("shapes", "Shapes", 900_000_114, "shapes", EASY, ("motion", "look", "description")),
    Plan("mixed", "Stars that come and go", 900_000_104, "mixed", NORMAL, ("look", "when", "motion", "description")),
    Plan("things", "Things in a film", 900_000_104, "things", _OVER_FILM, ("look", "description", "motion"), FILM_CREDIT),
)


@cache
def clips() -> tuple[Clip, ...]:
    """The clips in the order in which they are shown. The first call makes them: ask in a thread."""
    return (*(_draw(plan) for plan in DRAWN), _film())


def listing() -> dict[str, Any]:
    """What ``GET /v1/gallery`` answers."""
    return {
        "clips": [
            {
                "name": clip.name,
                "title": clip.title,
                "questions": list(clip.questions),
                "seconds": clip.seconds,
                "size": list(clip.size),
                "credit": clip.credit,
                "url": f"/v1/gallery/{clip.name}.mp4",
            }
            for clip in clips()
        ]
    }


def content(name: str) -> bytes | None:
    """The MP4 of a clip, None if there is none of this name."""
    return next((clip.content for clip in clips() if clip.name == name), None)


def _draw(plan: Plan) -> Clip:
    scene = plan.scene()
    rng = np.random.default_rng(plan.seed)
    asked = (dialogues(scene, rng, 1, (kind,)) for kind in plan.kinds)
    questions = tuple(dict.fromkeys(turn.question for turns in asked for turn in turns))
    return _clip(plan.name, plan.title, questions, scene.frames, plan.credit)


def _film() -> Clip:
    questions = ("What is in the video?", "Describe what moves.")
    return _clip("film", "Big Buck Bunny", questions, film_frames(FILM_SIDE), FILM_CREDIT)


def _clip(name: str, title: str, questions: Sequence[str], frames: NDArray[np.uint8], credit: str | None) -> Clip:
    seconds = len(frames) / FPS
    return Clip(name, title, tuple(questions), seconds, frames.shape[1:3], credit, _mp4(frames))


def _mp4(frames: Iterable[NDArray[np.uint8]]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, ((i / FPS, frame) for i, frame in enumerate(frames)), last=1 / FPS, crf=18)
        return path.read_bytes()
