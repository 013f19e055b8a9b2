"""What a scene shows and how it moves: looks, motions and paths are drawn here, before anything is painted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vglamm.data.world.scene import BASE_SIZE, Difficulty, llm_frames
from vglamm.data.world.words import COLOURS, DIRECTIONS, SHAPES, STILL, TEXTURES, THINGS

_GROWTH = 1.7
_LARGEST = 60.0  # diameter at BASE_SIZE that a growing object may reach
_SMALL, _BIG = (22.0, 28.0), (46.0, 56.0)  # a ratio of at least 1.64 where a size word must tell two apart
_TURN = (150.0, 270.0)  # degrees that a spinning object turns; less than 45 between two frames of the language model
_TWIN_DIAMETER, _TWIN_TRAVEL = 36.0, (30.0, 38.0)  # small enough that either twin could make either move from its first place
_SIDE_GAP = 8.0  # px at BASE_SIZE between the columns of two objects, so that their order is plain
_INSIDE = 0.8  # share of the radius that stays inside the frame
_TRIES = 16

Path = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True)
class Draft:
    """An object before it is painted. Attributes as in scene.WorldObject; hue (-1..1), gain and flip vary its picture slightly.

    diameter: px at BASE_SIZE on the first frame. timing: "whole", "late", "leave" or "window" (both).
    """

    level: str
    noun: str
    colour: str | None
    texture: str | None
    size: str
    diameter: float
    motion: str
    timing: str
    angle: float
    turn: float
    hue: float
    gain: float
    flip: bool

    @property
    def spins_visibly(self) -> bool:
        return not (self.noun in ("circle", "ring") and self.texture == "plain")


@dataclass(frozen=True)
class Route:
    """Where an object is: centres float32[F, 2], diameters float32[F], angles float32[F], present bool[F]; pixels and degrees."""

    centres: NDArray[np.float32]
    diameters: NDArray[np.float32]
    angles: NDArray[np.float32]
    present: NDArray[np.bool_]


def _draft(rng: np.random.Generator, setting: Difficulty, level: str) -> Draft:
    if level == "mixed":
        level = "shapes" if rng.random() < 0.5 else "things"
    shapes = level == "shapes"
    spread = 35.0 if shapes else 15.0
    return Draft(
        level=level,
        noun=str(rng.choice(SHAPES)) if shapes else THINGS[int(rng.integers(len(THINGS)))],
        colour=str(rng.choice(list(COLOURS))) if shapes else None,
        texture=str(rng.choice(TEXTURES, p=(0.5, 0.25, 0.25))) if shapes else None,
        size="",
        diameter=float(rng.uniform(*setting.diameters)),
        motion=STILL,
        timing="whole",
        angle=float(rng.uniform(-spread, spread)),
        turn=float(rng.uniform(*_TURN) * rng.choice((-1, 1))),
        hue=float(rng.uniform(-1, 1)),
        gain=float(rng.uniform(0.9, 1.05)),
        flip=bool(rng.random() < 0.5),
    )


def _motion(rng: np.random.Generator, draft: Draft, allowed: tuple[str, ...]) -> str:
    allowed = tuple(m for m in allowed if m != "spins" or draft.spins_visibly)
    if draft.size:
        allowed = tuple(m for m in allowed if m not in ("grows", "shrinks"))
    return str(rng.choice(allowed)) if allowed else STILL


def _doubles(rng: np.random.Generator, first: Draft, setting: Difficulty, twins: bool) -> tuple[Draft, Draft]:
    """Two objects with one colour and noun: twins differ in motion only, other pairs in texture or size."""
    if twins:
        allowed = [m for m in setting.motions if m not in ("grows", "shrinks") and (m != "spins" or first.spins_visibly)]
        one, two = rng.choice(allowed, 2, replace=False)
        first = replace(first, diameter=min(first.diameter, _TWIN_DIAMETER))
        return replace(first, motion=str(one)), replace(first, motion=str(two))
    other = _draft(rng, setting, first.level)
    other = replace(other, noun=first.noun, colour=first.colour, texture=first.texture, hue=first.hue, gain=first.gain)
    if first.level == "shapes" and rng.random() < 0.6:
        one, two = rng.choice(TEXTURES, 2, replace=False)
        first, other = replace(first, texture=str(one)), replace(other, texture=str(two))
    else:
        first = replace(first, size="small", diameter=float(rng.uniform(*_SMALL)))
        other = replace(other, size="big", diameter=float(rng.uniform(*_BIG)))
    return first, other


def objects_needed(wants: Iterable[str]) -> int:
    """The fewest objects that can answer these kinds: twins cannot be told by look, and a relation takes two that can."""
    kinds = set(wants)
    return max(1, 2 * ("motion" in kinds) + max(2 * ("relation" in kinds), bool(kinds & {"look", "when"})))


def draft_objects(
    rng: np.random.Generator, setting: Difficulty, level: str, *, image: bool, wants: frozenset[str]
) -> tuple[list[Draft], bool]:
    """Objects of one scene in painting order, and whether two of them are twins. No other two share colour and noun."""
    count = max(objects_needed(wants), 2 if level == "mixed" else 1, int(rng.integers(setting.objects[0], setting.objects[1] + 1)))
    twins = not image and count > 1 and ("motion" in wants or bool(rng.random() < setting.twins))
    pairs = not twins and count > 1 and bool(rng.random() < setting.pairs)
    drafts: list[Draft] = []
    while len(drafts) < count:
        draft = _draft(rng, setting, level)
        if any((draft.colour, draft.noun) == (other.colour, other.noun) for other in drafts):
            continue
        drafts.extend(_doubles(rng, draft, setting, twins) if not drafts and (twins or pairs) else (draft,))
    moving = [
        draft if twins and index < 2 else replace(draft, motion=STILL if image else _motion(rng, draft, setting.motions))
        for index, draft in enumerate(drafts)
    ]
    if not image:
        moving = _timed(rng, setting, moving, first=2 if twins else 0, wanted="when" in wants)
    order = rng.permutation(count)
    return [moving[i] for i in order], twins


def _timed(rng: np.random.Generator, setting: Difficulty, drafts: list[Draft], *, first: int, wanted: bool) -> list[Draft]:
    """Draws who enters late and who leaves; twins (before ``first``) stay for the whole time."""
    out = list(drafts)
    for index in range(first, len(out)):
        late, leave = rng.random() < setting.late, rng.random() < setting.leave
        out[index] = replace(out[index], timing={(1, 0): "late", (0, 1): "leave", (1, 1): "window"}.get((late, leave), "whole"))
    if wanted and first < len(out):
        out[-1] = replace(out[-1], timing=str(rng.choice(("late", "leave", "window"))))
    return out


def _window(rng: np.random.Generator, timing: str, frames: int) -> tuple[int, int]:
    """First frame and frame after the last, drawn so that at least a quarter of the video shows the object."""
    spans = {"late": ((0.2, 0.55), (1, 1)), "leave": ((0, 0), (0.45, 0.8)), "window": ((0.15, 0.35), (0.65, 0.85))}
    start, end = spans.get(timing, ((0, 0), (1, 1)))
    return round(rng.uniform(*start) * frames), round(rng.uniform(*end) * frames)


def _box(motion: str, travel: float, radius: float, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the first centre may lie so that the whole path stays in the frame: lowest and highest (x, y)."""
    step = np.asarray(DIRECTIONS.get(motion, (0, 0))) * travel
    margin = radius * _INSIDE
    return margin - np.minimum(step, 0), size - margin - np.maximum(step, 0)


def _slide(rng: np.random.Generator, draft: Draft, radius: float, frames: int, size: int) -> Path:
    """A mover that comes in over the edge, or goes out over it (the same path backwards)."""
    leaves = draft.timing == "leave"
    direction = np.asarray(DIRECTIONS[draft.motion]) * (-1 if leaves else 1)
    entry = rng.uniform(0.15, 0.45) * frames
    speed = (2 * radius + rng.uniform(0.2, 0.45) * size) / (frames - 1 - entry)
    axis = int(np.argmax(np.abs(direction)))
    edge = -radius if direction[axis] > 0 else size + radius
    along = edge + direction[axis] * speed * (np.arange(frames) - entry)
    across = rng.uniform(radius * _INSIDE, size - radius * _INSIDE)
    centres = np.full((frames, 2), across, np.float32)
    centres[:, axis] = along[::-1] if leaves else along
    present = np.arange(frames) > entry
    return centres, present[::-1] if leaves else present


def _route(rng: np.random.Generator, draft: Draft, setting: Difficulty, frames: int, size: int, twins: tuple[str, ...]) -> Route:
    """One random path for an object. twins: motions of both twins if it is one of them (their first places are alike)."""
    unit = size / BASE_SIZE
    grown = min(draft.diameter * _GROWTH, _LARGEST)
    first, last = {"grows": (grown / _GROWTH, grown), "shrinks": (grown, grown / _GROWTH)}.get(draft.motion, (draft.diameter,) * 2)
    radius = max(first, last) / 2 * unit
    slides = draft.motion in DIRECTIONS and draft.timing in ("late", "leave") and rng.random() < 0.6
    start, end = _window(rng, draft.timing, frames)
    progress = ((np.arange(frames) - start) / max(1, end - 1 - start)).clip(0, 1).astype(np.float32)
    if slides:
        centres, present = _slide(rng, draft, radius, frames, size)
    else:
        travel = rng.uniform(*(_TWIN_TRAVEL if twins else setting.travel)) * unit
        boxes = [_box(motion, travel, radius, size) for motion in (twins or (draft.motion,))]
        low, high = np.max([box[0] for box in boxes], axis=0), np.min([box[1] for box in boxes], axis=0)
        origin = rng.uniform(low, np.maximum(low, high))
        step = np.asarray(DIRECTIONS.get(draft.motion, (0, 0))) * travel
        centres = (origin + progress[:, None] * step).astype(np.float32)
        present = (np.arange(frames) >= start) & (np.arange(frames) < end)
    turned = draft.turn * progress if draft.motion == "spins" else np.zeros(frames, np.float32)
    diameters = unit * (first + (last - first) * progress)
    return Route(centres, diameters.astype(np.float32), (draft.angle + turned).astype(np.float32), present)


@dataclass(frozen=True)
class _Seen:
    """A route in the frames that the language model sees: column where it is first seen, centres[8, 2], radii[8], present[8]."""

    column: float
    centres: NDArray[np.float32]
    radii: NDArray[np.float32]
    present: NDArray[np.bool_]


def _seen(route: Route, size: int) -> _Seen:
    positions = llm_frames(len(route.present))
    centres, present = route.centres[positions], route.present[positions]
    inside = ((centres > 0) & (centres < size)).all(axis=1) & present
    return _Seen(float(centres[inside.argmax(), 0]), centres, route.diameters[positions] * np.float32(0.5), present)


def _apart(one: _Seen, two: _Seen, overlap: float, gap: float) -> bool:
    """Whether the two keep their distance and their order from left to right is plain."""
    if abs(one.column - two.column) < gap:
        return False
    away = one.centres - two.centres
    reach = (one.radii + two.radii) * (1 - overlap)
    close = (away[:, 0] ** 2 + away[:, 1] ** 2 < reach * reach) & one.present & two.present
    return not close.any()


def _swapped(one: Route, two: Route, size: int) -> list[_Seen]:
    """Both twins with their moves exchanged, each from its own first place."""
    moved = one.centres[0] + two.centres - two.centres[0], two.centres[0] + one.centres - one.centres[0]
    return [_seen(replace(route, centres=centres), size) for route, centres in zip((one, two), moved, strict=True)]


def route_objects(
    rng: np.random.Generator, drafts: list[Draft], setting: Difficulty, frames: int, size: int, twins: bool
) -> list[Route] | None:
    """Paths for all objects that keep their distance as the setting asks, or None if none was found in a few tries.

    Twins come first, and all must keep their distance as well if the twins exchanged their moves: otherwise the places alone
    would tell a little of which twin makes which move.
    """
    looks = [(draft.colour, draft.noun, draft.texture, draft.size) for draft in drafts]
    pair = [index for index, look in enumerate(looks) if looks.count(look) == 2] if twins else []
    gap = _SIDE_GAP * size / BASE_SIZE
    routes: dict[int, Route] = {}
    taken: list[_Seen] = []
    for index in sorted(range(len(drafts)), key=lambda index: index not in pair):
        moves = tuple(drafts[twin].motion for twin in pair) if index in pair else ()
        for _ in range(_TRIES):
            route = _route(rng, drafts[index], setting, frames, size, moves)
            seen = _seen(route, size)
            swapped = _swapped(routes[pair[0]], route, size) if pair and index == pair[1] else []
            if all(_apart(seen, other, setting.overlap, gap) for other in taken) and (
                not swapped or _apart(swapped[0], swapped[1], setting.overlap, gap)
            ):
                routes[index] = route
                taken += [seen, *swapped]
                break
        else:
            return None
    return [routes[index] for index in range(len(drafts))]
