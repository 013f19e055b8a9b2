"""Scenes and samples from a seed: the same seed and arguments give the same pixels and the same texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from vglamm.data.sample import Sample, Turn
from vglamm.data.world.dialogue import allowed_kinds, dialogues
from vglamm.data.world.ground import draw_ground
from vglamm.data.world.paint import paint_colours, paint_ids, stamps
from vglamm.data.world.plan import Draft, Route, draft_objects, objects_needed, route_objects
from vglamm.data.world.scene import BASE_SIZE, DIFFICULTIES, LEAST_AREA, LEVELS, Difficulty, Scene, WorldObject, llm_frames
from vglamm.data.world.words import KIND_WEIGHTS, KINDS, VIDEO_ONLY
from vglamm.errors import ConfigError

FPS = 8.0
SPLITS = {"train": range(0, 10_000_000), "valid": range(10_000_000, 10_100_000), "test": range(10_100_000, 10_200_000)}
"""Disjoint ranges of seeds."""

IMAGE_SHARE = 0.1
MULTI_TURN_SHARE = 0.25
_LEVEL_WEIGHTS = (0.4, 0.4, 0.2)
_ATTEMPTS, _PATIENCE = 600, 40
_SCENE, _GROUND, _DIALOGUE = 1, 2, 3  # independent random streams of one seed


def _difficulty(setting: str | Difficulty) -> Difficulty:
    if isinstance(setting, Difficulty):
        return setting
    if setting not in DIFFICULTIES:
        raise ConfigError(f"difficulty {setting!r}", f"one of {tuple(DIFFICULTIES)}", "choose one of these or pass a Difficulty")
    return DIFFICULTIES[setting]


def _check_kinds(kinds: Iterable[str], image: bool, setting: Difficulty) -> None:
    if unknown := set(kinds) - set(KINDS):
        raise ConfigError(f"kinds {sorted(unknown)}", f"some of {KINDS}", "correct the spelling")
    if image and (timeless := set(kinds) & set(VIDEO_ONLY)):
        raise ConfigError(f"kinds {sorted(timeless)} of an image", "kinds that need no time", "ask them of a video")
    steady = set(setting.motions) - {"grows", "shrinks", "spins"}
    if "motion" in kinds and (len(steady) < 2 or setting.objects[1] < 2):
        raise ConfigError(
            f"motion questions with motions {setting.motions} and at most {setting.objects[1]} objects",
            "two of moves left, right, up, down and stands still, and two objects",
            "allow more in the Difficulty or leave motion out",
        )


def _objects(drafts: list[Draft], routes: list[Route], ids: np.ndarray) -> tuple[WorldObject, ...]:
    size = int(ids.shape[1])
    counts = [np.asarray([np.count_nonzero(frame == number) for frame in ids]) for number in range(1, len(drafts) + 1)]
    least = LEAST_AREA * (size / BASE_SIZE) ** 2
    return tuple(
        WorldObject(
            id=number, level=d.level, noun=d.noun, colour=d.colour, texture=d.texture, size=d.size, motion=d.motion,
            centres=r.centres, diameters=r.diameters, angles=r.angles, present=r.present, areas=areas, visible=areas >= least,
        )
        for number, (d, r, areas) in enumerate(zip(drafts, routes, counts, strict=True), start=1)
    )  # fmt: skip


def make_scene(
    seed: int,
    *,
    level: str | None = None,
    difficulty: str | Difficulty = "normal",
    frames: int = 16,
    size: int = 128,
    image: bool = False,
    wants: Iterable[str] = (),
    pixels: bool = True,
) -> Scene:
    """A scene without dialogue, deterministic in its arguments.

    level: "shapes", "things" or "mixed"; None draws one. frames: F of a video (an image has one), at 8 frames per second.
    size: height and width in px. wants: kinds of questions that the scene must be able to answer. pixels=False leaves
    ``frames`` empty (uint8[0, size, size, 3]), for texts alone: six times as fast.
    Raises ConfigError for arguments that no scene can meet.
    """
    setting, wanted = _difficulty(difficulty), frozenset(wants)
    _check_kinds(wanted, image, setting)
    if level not in (None, *LEVELS):
        raise ConfigError(f"level {level!r}", f"one of {LEVELS} or None", "correct the spelling")
    if size < 32 or (frames < 8 and not image):
        raise ConfigError(f"{frames} frames of {size} px", "at least 8 frames of 32 px", "ask for more")
    rng = np.random.default_rng((seed, _SCENE))
    chosen = level or str(rng.choice(LEVELS, p=_LEVEL_WEIGHTS))
    count = 1 if image else frames
    for attempt in range(1, _ATTEMPTS + 1):
        if attempt % _PATIENCE == 0:  # many wanted kinds in an orderly world: let objects overlap a little more
            setting = replace(setting, overlap=min(0.5, setting.overlap + 0.2))
        drafts, twins = draft_objects(rng, setting, chosen, image=image, wants=wanted)
        routes = route_objects(rng, drafts, setting, count, size, twins)
        if routes is None:
            continue
        pictures = stamps(drafts, routes, size)
        ids = paint_ids(pictures, count, size)
        objects = _objects(drafts, routes, ids)
        scene = Scene(
            seed, np.empty((0, size, size, 3), np.uint8), ids, objects, _twin_ids(objects) if twins else None,
            chosen, setting.name, "", FPS,
        )  # fmt: skip
        if not _shows_all(scene) or not _answers(scene, wanted):
            continue
        ground_rng = np.random.default_rng((seed, _GROUND))
        kinds, weights = zip(*setting.grounds, strict=True)
        ground = str(ground_rng.choice(kinds, p=np.asarray(weights) / sum(weights)))
        if not pixels:
            return replace(scene, ground=ground)
        canvas = draw_ground(ground, ground_rng, count, size)
        paint_colours(pictures, canvas)
        return replace(scene, frames=canvas, ground=ground)
    raise ConfigError(
        f"no scene for seed {seed} in {_ATTEMPTS} attempts",
        f"one that answers {sorted(wanted)} at {setting.name}",
        "loosen the Difficulty",
    )


def _twin_ids(objects: tuple[WorldObject, ...]) -> tuple[int, int]:
    looks = [item.look for item in objects]
    first, second = (item.id for item in objects if looks.count(item.look) == 2)
    return first, second


def _shows_all(scene: Scene) -> bool:
    """Every object can be seen in two of the frames that the language model sees (in the one of an image)."""
    seen = llm_frames(len(scene.id_map))
    least = min(2, len(seen))
    return all(int(item.visible[seen].sum()) >= least for item in scene.objects)


def _answers(scene: Scene, wanted: frozenset[str]) -> bool:
    rng = np.random.default_rng(0)
    for kind in wanted:
        turns = dialogues(scene, rng, 1, (kind,))
        if not turns or (kind == "when" and turns[0].answer.endswith("frames:(0,8).")):
            return False
    return True


def _plan(
    seed: int, kinds: tuple[str, ...] | None, image: bool | None, turns: int | None
) -> tuple[np.random.Generator, bool, tuple[str, ...]]:
    """The dialogue's random stream, whether the sample is an image, and the kind of each turn."""
    rng = np.random.default_rng((seed, _DIALOGUE))
    is_image, several, three = rng.random(3) < (IMAGE_SHARE, MULTI_TURN_SHARE, 0.5)
    if image is not None:
        is_image = np.bool_(image)
    possible = allowed_kinds(kinds, image=bool(is_image))
    if not possible:
        raise ConfigError(f"kinds {kinds} of an image", "a kind that needs no time", "pass image=False or other kinds")
    count = turns or (1 if not several else 3 if three else 2)
    weights = np.asarray([KIND_WEIGHTS[kind] for kind in possible])
    drawn = rng.choice(len(possible), count, p=weights / weights.sum())
    return rng, bool(is_image), tuple(possible[int(i)] for i in drawn)


def make_sample(
    seed: int,
    *,
    level: str | None = None,
    difficulty: str | Difficulty = "normal",
    kinds: tuple[str, ...] | None = None,
    frames: int = 16,
    size: int = 128,
    image: bool | None = None,
    turns: int | None = None,
) -> Sample:
    """One sample, deterministic in its arguments: by default one in ten is an image and one in four has two or three turns.

    kinds: kinds of questions to draw from, in the proportions of words.KIND_WEIGHTS; None for all six. turns: exact number of
    questions, as far as the scene holds that many facts. Other arguments as for make_scene.
    """
    if kinds is not None:
        _check_kinds(kinds, False, _difficulty(difficulty))
    setting = _difficulty(difficulty)
    if kinds is None and setting.objects[1] < 2:
        kinds = tuple(kind for kind in KINDS if kind not in ("motion", "relation"))
    rng, is_image, drawn = _plan(seed, kinds, image, turns)
    wants = _fitting(drawn, setting)
    scene = make_scene(seed, level=level, difficulty=setting, frames=frames, size=size, image=is_image, wants=wants)
    asked = _ask(scene, rng, drawn)
    masks = [scene.mask(*((target,) if isinstance(target, int) else target)) for turn in asked for target in turn.targets]
    return Sample(
        id=f"world-{setting.name}-{seed}",
        frames=scene.frames,
        fps=FPS,
        turns=asked,
        masks=np.stack(masks) if masks else np.zeros((0, *scene.id_map.shape), np.bool_),
        is_image=is_image,
        level=scene.level,
        meta=scene,
    )


def _fitting(kinds: tuple[str, ...], setting: Difficulty) -> set[str]:
    """The first kind and those later ones that a scene of this many objects can answer as well."""
    wants = {kinds[0]}
    for kind in kinds[1:]:
        if objects_needed(wants | {kind}) <= setting.objects[1]:
            wants.add(kind)
    return wants


def _ask(scene: Scene, rng: np.random.Generator, kinds: tuple[str, ...]) -> tuple[Turn, ...]:
    """One turn of each kind in order, no question twice; a kind that has no second fact gives way to a look or an absent object."""
    asked: list[Turn] = []
    for kind in kinds:
        for fallback in (kind, "look", "absent"):
            fresh = [
                t for t in dialogues(scene, rng, 8, (fallback,)) if all(t.targets != a.targets or t.kind != a.kind for a in asked)
            ]
            if fresh:
                asked.append(fresh[0])
                break
    return tuple(asked)


def all_texts(seeds: Iterable[int], count: int = 4, **scene_arguments: object) -> Iterator[Turn]:
    """Turns about scenes that are never painted, up to ``count`` for each seed: the texts alone, for tokenizers and language."""
    for seed in seeds:
        scene = make_scene(seed, pixels=False, **scene_arguments)  # type: ignore[arg-type]
        yield from dialogues(scene, np.random.default_rng((seed, _DIALOGUE)), count)
