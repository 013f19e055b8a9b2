"""The generated world: short clips of shapes and everyday things with masks and dialogues, deterministic in a seed.

It is the fixture of the tests, the data of the tiny model and the bed of ablations. Nothing is downloaded; the sprites come from
an openly licensed emoji font and the film behind them from Big Buck Bunny (licences in ``assets``).
"""

from vglamm.data.world.dialogue import clear_motion, dialogues, look_phrase, reading_order, visible_span
from vglamm.data.world.generate import FPS, SPLITS, all_texts, make_sample, make_scene
from vglamm.data.world.scene import DIFFICULTIES, Difficulty, Scene, WorldObject, llm_frames
from vglamm.data.world.words import KINDS, THINGS, vocabulary

__all__ = [
    "DIFFICULTIES",
    "FPS",
    "KINDS",
    "SPLITS",
    "THINGS",
    "Difficulty",
    "Scene",
    "WorldObject",
    "all_texts",
    "clear_motion",
    "dialogues",
    "llm_frames",
    "look_phrase",
    "make_sample",
    "make_scene",
    "reading_order",
    "visible_span",
    "vocabulary",
]
