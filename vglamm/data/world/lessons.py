"""Questions to learn from, asked in no test: one thing at a time of what a question of a test needs together.

Of the questions about twins alone, which need look, place and motion at once, a model learns none of the three; of spans in which
most begin at the first frame and end with the last, it learns to say so; of what is absent, most of which differs from all that is
there in its colour or its shape, it learns to look for the two anywhere.
"""

from __future__ import annotations

import numpy as np

from vglamm.data.sample import Turn
from vglamm.data.world import words as w
from vglamm.data.world.dialogue import (
    absent_fact,
    look_facts,
    look_phrase,
    motion_answer,
    pick,
    reading_order,
    span_facts,
    told_by_motion,
)
from vglamm.data.world.scene import Scene


def motion_lessons(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """ "Segment what moves left.", and "Which star moves left?" also of stars of two colours."""
    facts = []
    for item in scene.objects:
        if told_by_motion(item, scene.objects, scene):
            question = w.MOTION_LESSON.format(motion=item.motion)
            facts.append(Turn(question, motion_answer("what", item), "motion", (item.id,)))
        for phrase in dict.fromkeys((item.base, item.noun)):
            alike = [other for other in scene.objects if phrase in (other.base, other.noun)]
            if len(alike) > 1 and told_by_motion(item, alike, scene):
                question = pick(rng, w.MOTION_QUESTIONS).format(np=phrase, motion=item.motion)
                facts.append(Turn(question, motion_answer(f"the {phrase} that", item), "motion", (item.id,)))
    return [facts[i] for i in rng.permutation(len(facts))]


def order_lessons(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """ "Describe what is left of the red circle.": a part of a description, from left to right like the whole."""
    ordered = reading_order(scene) or []
    facts = []
    for place, anchor in enumerate(ordered):
        if not (phrase := look_phrase(scene, anchor)):
            continue
        for relation, part in (("left of", ordered[:place]), ("right of", ordered[place + 1 :])):
            if part:
                said = w.joined([w.grounded(w.with_article(look_phrase(scene, item) or item.base)) for item in part])
                question = w.ORDER_LESSON.format(relation=relation, np=phrase)
                answer = w.DESCRIBE_ANSWER.format(phrases=said)
                facts.append(Turn(question, answer, "description", tuple(item.id for item in part)))
    return [facts[i] for i in rng.permutation(len(facts))]


def span_lessons(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """ "When is the red circle visible?" of every object, also of those that are there for the whole time."""
    facts = [fact for _, fact in span_facts(scene, rng)]
    return [facts[i] for i in rng.permutation(len(facts))]


def binding_lessons(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """ "Where is the red star?" of a red circle and a blue star, and where these two are: which colour is of which shape."""
    shapes = [item for item in scene.objects if item.colour]
    there = {item.base for item in scene.objects}
    torn = {f"{one.colour} {other.noun}" for one in shapes for other in shapes} - there
    absent = [absent_fact(scene, phrase, rng) for phrase in sorted(torn)]
    present = [fact for fact in look_facts(scene, rng) if torn]
    count = min(len(absent), len(present))
    facts = [part[i] for part in (absent, present) for i in rng.permutation(len(part))[:count]]
    return [facts[i] for i in rng.permutation(len(facts))]


LESSONS = {"motions": motion_lessons, "orders": order_lessons, "spans": span_lessons, "bindings": binding_lessons}
"""Setting of :class:`vglamm.objectives.questions.QuestionPreparer` -> the lessons whose share it is."""
