"""What a generated scene is: objects with looks and motions, and the settings that make a scene easy or hard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.words import LLM_FRAMES, MOTIONS, STILL
from vglamm.errors import ConfigError

LEVELS = ("shapes", "things", "mixed")
BASE_SIZE = 128  # the settings below are in pixels of a frame this wide
LEAST_AREA = 60.0  # visible pixels at BASE_SIZE from which an object counts as visible


@dataclass(frozen=True)
class Difficulty:
    """How hard scenes are. Pixels are of a 128 px frame.

    objects: fewest and most objects. diameters: smallest and largest. travel: how far movers go. overlap: how deep two objects may
    cover each other, as a share of the sum of their radii (below 0: a gap). late, leave: chance of an object to enter after frame
    0, to be gone before the end. twins, pairs: chance of a scene with two objects that only motion, or only texture or size,
    tells apart. grounds: weights of the backgrounds. motions: those that occur.
    """

    name: str
    objects: tuple[int, int]
    diameters: tuple[float, float]
    travel: tuple[float, float]
    overlap: float
    late: float
    leave: float
    twins: float
    pairs: float
    grounds: tuple[tuple[str, float], ...]
    motions: tuple[str, ...] = MOTIONS

    def __post_init__(self) -> None:
        if not 1 <= self.objects[0] <= self.objects[1] <= 6:
            raise ConfigError(f"objects {self.objects}", "1 <= fewest <= most <= 6", "scenes are 128 px wide: choose fewer")
        if unknown := set(self.motions) - set(MOTIONS):
            raise ConfigError(f"motions {sorted(unknown)}", f"some of {MOTIONS}", "correct the spelling")


EASY = Difficulty(
    "easy", (1, 2), (34, 56), (40, 60), -0.1, 0.0, 0.0, 0.1, 0.1, (("flat", 0.7), ("cloud", 0.3)),
    ("moves left", "moves right", "moves up", "moves down", STILL),
)  # fmt: skip
NORMAL = Difficulty(
    "normal", (2, 4), (26, 56), (32, 56), 0.3, 0.15, 0.1, 0.15, 0.2,
    (("flat", 0.1), ("cloud", 0.25), ("grain", 0.15), ("pattern", 0.2), ("film", 0.3)),
)  # fmt: skip
HARD = Difficulty(
    "hard", (3, 6), (22, 50), (28, 50), 0.55, 0.25, 0.2, 0.2, 0.3,
    (("cloud", 0.15), ("grain", 0.15), ("pattern", 0.2), ("film", 0.5)),
)  # fmt: skip
CROWDED = Difficulty(
    "crowded", (4, 6), (26, 56), (32, 56), 0.2, 0.0, 0.0, 0.0, 0.1,
    (("flat", 0.1), ("cloud", 0.25), ("grain", 0.15), ("pattern", 0.2), ("film", 0.3)),
)  # fmt: skip
"""Many objects with little overlap: most to learn from one picture. Not a bed for questions."""
DIFFICULTIES = {setting.name: setting for setting in (EASY, NORMAL, HARD, CROWDED)}


@dataclass(frozen=True)
class WorldObject:
    """One object of a scene.

    id: its value in the id map, from 1; higher ids lie in front. level: "shapes" or "things". noun: "circle", "dog". colour,
    texture: None for things. size: "small" or "big" where that tells it from its double, else "". motion: one of
    words.MOTIONS. centres: float32[F, 2], (x, y) in pixels, may lie outside. diameters: float32[F], pixels. angles: float32[F],
    degrees. present: bool[F], whether it is drawn. areas: int64[F], visible pixels. visible: bool[F], areas of at least 60
    px at 128.
    """

    id: int
    level: str
    noun: str
    colour: str | None
    texture: str | None
    size: str
    motion: str
    centres: NDArray[np.float32]
    diameters: NDArray[np.float32]
    angles: NDArray[np.float32]
    present: NDArray[np.bool_]
    areas: NDArray[np.int64]
    visible: NDArray[np.bool_]

    @property
    def base(self) -> str:
        """Its noun phrase when nothing resembles it: "red circle", "dog"."""
        return f"{self.colour} {self.noun}" if self.colour else self.noun

    @property
    def look(self) -> tuple[str | None, ...]:
        """All that a single frame tells of it."""
        return self.colour, self.noun, self.texture, self.size


@dataclass(frozen=True)
class Scene:
    """A rendered scene without dialogue.

    frames: uint8[F, H, W, 3]. id_map: uint8[F, H, W], 0 for background and i where object i is seen. twins: ids of the two objects
    that only motion tells apart, or None. ground: the kind of background.
    """

    seed: int
    frames: NDArray[np.uint8]
    id_map: NDArray[np.uint8]
    objects: tuple[WorldObject, ...]
    twins: tuple[int, int] | None
    level: str
    difficulty: str
    ground: str
    fps: float

    @property
    def is_image(self) -> bool:
        return len(self.id_map) == 1

    @property
    def least_area(self) -> float:
        """Visible pixels from which an object counts as visible in a frame of this size."""
        return LEAST_AREA * (int(self.id_map.shape[1]) / BASE_SIZE) ** 2

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """bool[F, H, W]: the union of all objects."""
        return self.id_map > 0

    @property
    def llm_frames(self) -> NDArray[np.int_]:
        """int[8] (int[1] for an image): the frames that the language model sees, in order."""
        return llm_frames(len(self.id_map))

    def mask(self, *ids: int) -> NDArray[np.bool_]:
        """bool[F, H, W]: visible pixels of these objects together."""
        return np.asarray(np.isin(self.id_map, ids) if len(ids) > 1 else self.id_map == ids[0])


@lru_cache(maxsize=64)
def llm_frames(frames: int) -> NDArray[np.int_]:
    """Positions (read-only) of the 8 frames, evenly from first to last, that the language model sees; one for an image."""
    positions = np.linspace(0, frames - 1, LLM_FRAMES if frames > 1 else 1, dtype=int)
    positions.setflags(write=False)
    return positions
