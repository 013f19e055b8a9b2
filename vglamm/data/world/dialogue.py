"""Questions and answers about a scene. Every answer follows from the scene and has one referent for each phrase.

Each kind has a list of facts that can be asked of this scene; a turn is one fact in one of a few wordings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vglamm.data.sample import Turn
from vglamm.data.world import words as w
from vglamm.data.world.scene import BASE_SIZE, Scene, WorldObject

_COLUMN_GAP = 6.0  # px at BASE_SIZE between two objects of a description
_RELATION_GAP = 12.0  # px by which the answer lies on the named side
_OTHER_GAP = 6.0  # px by which every other object lies on the other side
_CLEAR_TRAVEL = 18.0

Fact = Turn


def look_phrase(scene: Scene, item: WorldObject) -> str | None:
    """The shortest noun phrase that only this object fits by look: "red circle", "striped red circle", "big dog"; or None."""
    alike = [other for other in scene.objects if other.base == item.base and other.id != item.id]
    if not alike:
        return item.base
    if item.texture and all(other.texture != item.texture for other in alike):
        return f"{item.texture} {item.base}"
    if item.size and all(other.size != item.size for other in alike):
        return f"{item.size} {item.base}"
    return None


def clear_motion(scene: Scene, item: WorldObject) -> bool:
    """Whether the frames that the language model sees show the motion plainly."""
    seen = [f for f in scene.llm_frames if item.visible[f]]
    if len(seen) < 3:
        return False
    first, last = seen[0], seen[-1]
    if item.motion in w.DIRECTIONS:
        return bool(np.hypot(*(item.centres[last] - item.centres[first])) >= _CLEAR_TRAVEL * _unit(scene))
    if item.motion == "spins":
        return bool(abs(item.angles[last] - item.angles[first]) >= 60)
    if item.motion == w.STILL:
        return True
    ratio = item.diameters[last] / item.diameters[first]
    return bool(max(ratio, 1 / ratio) >= 1.3)


def _unit(scene: Scene) -> float:
    return float(scene.id_map.shape[1]) / BASE_SIZE


def _medium(scene: Scene) -> str:
    return "image" if scene.is_image else "video"


def _look_answer(template: str, phrase: str) -> str:
    return (w.SHOW_ANSWER if template.startswith("Show") else w.LOOK_ANSWER).format(phrase=w.grounded(phrase))


def look_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "Segment the red circle." for each object that its look alone tells from all others."""
    facts = []
    for item in scene.objects:
        if phrase := look_phrase(scene, item):
            template = pick(rng, w.LOOK_QUESTIONS)
            facts.append(Turn(template.format(np=phrase), _look_answer(template, f"the {phrase}"), "look", (item.id,)))
    return facts


def motion_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "Which star moves left?" for twins, where the wording fits both by look and one by motion."""
    twins = (item for item in scene.objects if scene.twins and item.id in scene.twins)
    return [
        Turn(
            pick(rng, w.MOTION_QUESTIONS).format(np=phrase, motion=item.motion),
            motion_answer(f"the {phrase} that", item),
            "motion",
            (item.id,),
        )
        for item in twins
        for phrase in dict.fromkeys((item.base, item.noun))
        if told_by_motion(item, [other for other in scene.objects if phrase in (other.base, other.noun)], scene)
    ]


def told_by_motion(item: WorldObject, among: Sequence[WorldObject], scene: Scene) -> bool:
    """Whether it alone of these moves as it does, and all of them plainly."""
    return all(clear_motion(scene, other) for other in among) and sum(other.motion == item.motion for other in among) == 1


def motion_answer(what: str, item: WorldObject) -> str:
    """ "It is what moves left." """
    return w.LOOK_ANSWER.format(phrase=w.grounded(f"{what} {item.motion}"))


def _margin(scene: Scene, item: WorldObject, anchor: WorldObject, direction: tuple[int, int]) -> tuple[float, float]:
    """Least and greatest distance, px at 128, by which ``item`` lies on that side of ``anchor`` in frames that show both."""
    shared = [f for f in scene.llm_frames if item.visible[f] and anchor.visible[f]]
    if not shared:
        return -np.inf, np.inf
    along = (item.centres[shared] - anchor.centres[shared]) @ np.asarray(direction) / _unit(scene)
    return float(along.min()), float(along.max())


def relation_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "What is left of the red circle?" where one object always is, plainly, and all others never are."""
    facts = []
    for anchor in scene.objects:
        phrase = look_phrase(scene, anchor)
        others = [other for other in scene.objects if other.id != anchor.id]
        for relation, direction in w.RELATIONS.items() if phrase else ():
            margins = [_margin(scene, other, anchor, direction) for other in others]
            there = [o for o, (low, _) in zip(others, margins, strict=True) if low >= _RELATION_GAP]
            not_there = sum(high <= -_OTHER_GAP for _, high in margins)
            if len(there) != 1 or not_there != len(others) - 1:
                continue
            target = look_phrase(scene, there[0])
            if target:
                question = pick(rng, w.RELATION_QUESTIONS).format(relation=relation, np=phrase)
                grounded = w.grounded(w.capital(w.with_article(target)))
                answer = w.RELATION_ANSWER.format(phrase=grounded, relation=relation, np=phrase)
                facts.append(Turn(question, answer, "relation", (there[0].id,)))
    return facts


def reading_order(scene: Scene) -> list[WorldObject] | None:
    """Objects from left to right by their centre where each is first visible to the language model; None if two are too close."""
    columns = []
    for item in scene.objects:
        seen = [f for f in scene.llm_frames if item.visible[f]]
        if not seen:
            return None
        columns.append((float(item.centres[seen[0], 0]), item))
    columns.sort(key=lambda pair: pair[0])
    gaps = np.diff([column for column, _ in columns])
    return [item for _, item in columns] if bool(np.all(gaps >= _COLUMN_GAP * _unit(scene))) else None


def description_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "Describe the video." with a phrase for each object, and "Describe what moves." with a phrase for each that moves."""
    ordered = reading_order(scene)
    if ordered is None:
        return []
    names = {item.id: w.with_article(look_phrase(scene, item) or item.base) for item in ordered}
    phrases = w.joined([w.grounded(names[item.id]) for item in ordered])
    question = pick(rng, w.DESCRIBE_QUESTIONS).format(medium=_medium(scene))
    facts = [Turn(question, w.DESCRIBE_ANSWER.format(phrases=phrases), "description", tuple(o.id for o in ordered))]
    moving = [item for item in ordered if item.motion != w.STILL]
    if moving and not scene.is_image and all(clear_motion(scene, item) for item in ordered):
        parts = [f"{w.grounded(w.capital(names[o.id]) if o is moving[0] else names[o.id])} {o.motion}" for o in moving]
        question = pick(rng, w.DESCRIBE_MOTION_QUESTIONS)
        facts.append(Turn(question, f"{w.joined(parts)}.", "description", tuple(item.id for item in moving)))
    return facts


def visible_span(scene: Scene, item: WorldObject) -> tuple[int, int] | None:
    """First and one past the last of the 8 frames that show the object; None if that is not one span or an area is doubtful."""
    areas = item.areas[scene.llm_frames]
    shown = areas >= scene.least_area
    if np.any((areas > 0) & ~shown) or not shown.any():
        return None
    positions = np.flatnonzero(shown)
    start, end = int(positions[0]), int(positions[-1]) + 1
    return (start, end) if end - start == len(positions) else None


def span_facts(scene: Scene, rng: np.random.Generator) -> list[tuple[bool, Fact]]:
    """ "When is the red circle visible?" of all objects, and whether it is for the whole time."""
    facts: list[tuple[bool, Fact]] = []
    for item in scene.objects:
        phrase, span = look_phrase(scene, item), visible_span(scene, item)
        if phrase and span:
            question = pick(rng, w.WHEN_QUESTIONS).format(np=phrase)
            answer = w.WHEN_ANSWER.format(phrase=w.grounded(f"The {phrase}"), start=span[0], end=span[1])
            facts.append((span == (0, len(scene.llm_frames)), Turn(question, answer, "when", (item.id,))))
    return facts


def when_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "When is the red circle visible?"; objects that come or go first, others only if there are none."""
    facts = span_facts(scene, rng)
    return [fact for whole, fact in facts if not whole] or [fact for _, fact in facts]


def absent_facts(scene: Scene, rng: np.random.Generator) -> list[Fact]:
    """ "Where is the red star?" where there is none; half of the time with a colour or a shape that is there."""
    present = {item.base for item in scene.objects} | {item.noun for item in scene.objects}
    shapes = [item for item in scene.objects if item.colour]
    facts = []
    for _ in range(3):
        if shapes and (len(shapes) == len(scene.objects) or rng.random() < 0.5):
            near = shapes[int(rng.integers(len(shapes)))]
            keep = rng.random()
            colour = near.colour if keep < 0.35 else pick(rng, list(w.COLOURS))
            noun = near.noun if keep > 0.65 else pick(rng, w.SHAPES)
            phrase = f"{colour} {noun}"
        else:
            phrase = pick(rng, w.THINGS)
        if phrase not in present:
            facts.append(absent_fact(scene, phrase, rng))
    return facts


def absent_fact(scene: Scene, phrase: str, rng: np.random.Generator) -> Fact:
    """A question about what is not there, and the answer that says so."""
    question = pick(rng, w.LOOK_QUESTIONS).format(np=phrase)
    return Turn(question, w.ABSENT_ANSWER.format(np=phrase, medium=_medium(scene)), "absent")


_FACTS: dict[str, Callable[[Scene, np.random.Generator], list[Fact]]] = {
    "look": look_facts,
    "motion": motion_facts,
    "relation": relation_facts,
    "description": description_facts,
    "when": when_facts,
    "absent": absent_facts,
}


def pick(rng: np.random.Generator, choices: tuple[str, ...] | list[str]) -> str:
    """One of these, all as likely."""
    return choices[int(rng.integers(len(choices)))]


def allowed_kinds(kinds: Iterable[str] | None, *, image: bool) -> tuple[str, ...]:
    """The kinds to draw from, in order: all if None; of a single image nothing that needs time can be asked."""
    return tuple(kind for kind in (kinds or w.KINDS) if not (image and kind in w.VIDEO_ONLY))


def dialogues(scene: Scene, rng: np.random.Generator, count: int, kinds: Iterable[str] | None = None) -> list[Turn]:
    """Up to ``count`` different questions about one scene, each answerable on its own, with their answers.

    kinds: draw from these (a kind that the scene cannot answer is passed over); None for all. Kinds are drawn in the proportions
    of words.KIND_WEIGHTS. Fewer turns come back if the scene holds fewer facts.
    """
    facts = {kind: _FACTS[kind](scene, rng) for kind in allowed_kinds(kinds, image=scene.is_image)}
    turns: list[Turn] = []
    while len(turns) < count and (open_kinds := [kind for kind, left in facts.items() if left]):
        weights = np.asarray([w.KIND_WEIGHTS[kind] for kind in open_kinds])
        kind = open_kinds[int(rng.choice(len(open_kinds), p=weights / weights.sum()))]
        turns.append(facts[kind].pop(int(rng.integers(len(facts[kind])))))
    return turns
