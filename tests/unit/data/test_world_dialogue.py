"""Dialogues: every phrase has one referent, judged here from attributes and masks alone; frequencies; the closed language."""

import re
from collections import Counter

import numpy as np
import pytest

from vglamm.data.world import KINDS, all_texts, dialogues, make_sample, make_scene, vocabulary
from vglamm.data.world.lessons import binding_lessons, motion_lessons, order_lessons, span_lessons
from vglamm.data.world.scene import EASY, Difficulty, Scene, WorldObject
from vglamm.data.world.words import COLOURS, DIRECTIONS, MOTIONS, RELATIONS, SIZES, TEXTURES, pieces, with_article

PHRASE = re.compile(r"<p> (.*?) </p> \[SEG\]")


def fits(item: WorldObject, phrase: str) -> bool:
    """Whether an object is a "striped red circle", a "big dog", a "star that spins"."""
    noun_phrase, _, motion = phrase.partition(" that ")
    *attributes, noun = re.sub(r"^(the|a|an) ", "", noun_phrase.lower()).split()
    own = {item.colour, item.texture, item.size}
    assert set(attributes) <= {*COLOURS, *TEXTURES, *SIZES}
    return noun == item.noun and set(attributes) <= own and (not motion or motion == item.motion)


def turns_of(kind: str, difficulty: str = "normal", count: int = 40) -> list[tuple[Scene, str, str, tuple[int, ...]]]:
    found = []
    for seed in range(count):
        scene = make_scene(seed, difficulty=difficulty, wants=(kind,), pixels=False)
        found += [(scene, t.question, t.answer, t.targets) for t in dialogues(scene, np.random.default_rng(seed), 3, (kind,))]
    assert len(found) >= count
    return found


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
@pytest.mark.parametrize("kind", ["look", "motion", "when"])
def test_one_object_fits_the_phrase(kind, difficulty):
    for scene, question, answer, targets in turns_of(kind, difficulty):
        (phrase,) = PHRASE.findall(answer)
        assert [item.id for item in scene.objects if fits(item, phrase)] == list(targets)
        assert re.sub("^[Tt]he ", "", phrase).split(" that ")[0] in question


def test_only_motion_tells_twins_apart():
    for scene, _, answer, (target,) in turns_of("motion"):
        (phrase,) = PHRASE.findall(answer)
        looks_alike = [item for item in scene.objects if fits(item, phrase.split(" that ")[0])]
        assert set(scene.twins) <= {item.id for item in looks_alike}
        one, two = (scene.objects[i - 1] for i in scene.twins)
        assert target in scene.twins
        assert one.look == two.look
        assert one.motion != two.motion
        assert np.array_equal(one.diameters, two.diameters)
        assert one.angles[0] == two.angles[0]


def test_first_places_tell_nothing_of_the_twins_moves():
    ahead = []
    for seed in range(250):
        scene = make_scene(seed, difficulty="easy", wants=("motion",), pixels=False)
        one, two = (scene.objects[i - 1] for i in scene.twins)
        for mover, other in ((one, two), (two, one)):
            if mover.motion in DIRECTIONS:
                ahead.append((mover.centres[0] - other.centres[0]) @ np.asarray(DIRECTIONS[mover.motion]) > 0)
    assert abs(np.mean(ahead) - 0.5) < 0.06  # 3 standard errors


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
def test_lessons_of_motion_have_one_answer_and_are_in_no_test(difficulty):
    asked, alone = set(), 0
    for seed in range(40):
        scene = make_scene(seed, difficulty=difficulty, wants=("motion",), pixels=False)
        lessons = motion_lessons(scene, np.random.default_rng(seed))
        assert {t.question for t in dialogues(scene, np.random.default_rng(seed), 99, ("motion",))} & {t.question for t in lessons}
        for turn in lessons:
            (phrase,) = PHRASE.findall(turn.answer)
            what, motion = re.fullmatch(r"(what|the .+ that) (.+)", phrase).groups()
            fitting = [o for o in scene.objects if (o.motion == motion if what == "what" else fits(o, phrase))]
            assert [item.id for item in fitting] == list(turn.targets)
            alike = [o for o in scene.objects if what == "what" or fits(o, what.removesuffix(" that"))]
            assert len(alike) > 1, "its look alone would tell"
            asked.add(turn.question)
            alone += what == "what"
    assert alone > 20
    assert {piece for question in asked for piece in pieces(question)} <= set(vocabulary())
    tested = {t.question for s in range(200) for t in make_sample(s, difficulty=difficulty).turns}
    assert not {q for q in tested if q.startswith("Segment what") and any(q == f"Segment what {m}." for m in MOTIONS)}


@pytest.mark.parametrize("difficulty", ["normal", "hard"])
def test_lessons_of_order_are_parts_of_the_description(difficulty):
    parts = set()
    for scene, question, answer, targets in turns_of("description", difficulty, 30):
        if "moves" in question:
            continue
        for turn in order_lessons(scene, np.random.default_rng(0)):
            relation, name = re.fullmatch("Describe what is (left|right) of the (.+).", turn.question).groups()
            (anchor,) = [place for place, target in enumerate(targets) if fits(scene.objects[target - 1], name)]
            assert turn.targets == (targets[:anchor] if relation == "left" else targets[anchor + 1 :])
            whole, part = PHRASE.findall(answer), PHRASE.findall(turn.answer)
            assert part == (whole[:anchor] if relation == "left" else whole[anchor + 1 :])
            assert set(pieces(turn.question)) <= set(vocabulary())
            parts.add((relation, len(part)))
    assert {relation for relation, _ in parts} == {"left", "right"}
    assert {length for _, length in parts} >= {1, 2, 3}


def test_lessons_of_bindings_ask_for_what_is_there_only_in_pieces_as_often_as_for_what_is_there():
    asked = 0
    for seed in range(60):
        scene = make_scene(seed, level="shapes", pixels=False)
        turns = binding_lessons(scene, np.random.default_rng(seed))
        absent = [turn for turn in turns if turn.kind == "absent"]
        assert len(turns) == 2 * len(absent)
        for turn in absent:
            colour, noun = re.search(r" the (\w+) (\w+)[.?]$", turn.question).groups()
            assert any(item.colour == colour for item in scene.objects)
            assert any(item.noun == noun for item in scene.objects)
            assert not any((item.colour, item.noun) == (colour, noun) for item in scene.objects)
            assert turn.answer.startswith(f"There is no {colour} {noun} ")
            assert not turn.targets
        for turn in turns:
            if turn.kind == "look":
                (item,) = [o for o in scene.objects if (o.id,) == turn.targets]
                assert fits(item, PHRASE.search(turn.answer)[1])
        assert {turn.kind for turn in turns} <= {"absent", "look"}
        asked += len(absent)
    assert asked > 60


def test_lessons_of_spans_ask_of_everything_that_a_span_can_be_told_of():
    whole = 0
    for seed in range(40):
        scene = make_scene(seed, wants=("when",), pixels=False)
        turns = span_lessons(scene, np.random.default_rng(seed))
        tested = dialogues(scene, np.random.default_rng(seed), 99, ("when",))
        assert {t.answer for t in tested} <= {t.answer for t in turns}
        for turn in turns:
            (item,) = [o for o in scene.objects if (o.id,) == turn.targets]
            start, end = map(int, re.search(r"\((\d),(\d)\)", turn.answer).groups())
            shown = [position for position, frame in enumerate(scene.llm_frames) if item.areas[frame]]
            assert shown == list(range(start, end))
            whole += (start, end) == (0, 8)
        assert len(turns) == len({t.targets for t in turns})
    assert whole > 20


def column_of(scene: Scene, item: WorldObject, frame: int) -> np.ndarray:
    rows, columns = np.nonzero(scene.mask(item.id)[frame])
    return np.asarray([columns.mean(), rows.mean()])


@pytest.mark.parametrize("difficulty", ["normal", "hard"])
def test_one_object_stands_in_the_relation(difficulty):
    for scene, question, answer, (target,) in turns_of("relation", difficulty, 30):
        relation = next(name for name in RELATIONS if name in question)
        anchor_phrase = question.split(relation)[1].strip(" .?")
        (anchor,) = [item for item in scene.objects if fits(item, anchor_phrase)]
        assert fits(scene.objects[target - 1], PHRASE.findall(answer)[0])
        for item in (o for o in scene.objects if o.id != anchor.id):
            shared = [f for f in scene.llm_frames if item.visible[f] and anchor.visible[f]]
            side = [(column_of(scene, item, f) - column_of(scene, anchor, f)) @ np.asarray(RELATIONS[relation]) for f in shared]
            assert side if item.id == target else True
            assert not side or (np.mean(side) > 0) == (item.id == target)


def test_descriptions_name_everything_from_left_to_right():
    for scene, question, answer, targets in turns_of("description", "hard"):
        phrases = PHRASE.findall(answer)
        assert all(fits(scene.objects[i - 1], phrase) for i, phrase in zip(targets, phrases, strict=True))
        wanted = {item.id for item in scene.objects if "moves" not in question or item.motion != "stands still"}
        assert set(targets) == wanted
        firsts = [scene.objects[i - 1] for i in targets]
        starts = [next(f for f in scene.llm_frames if item.visible[f]) for item in firsts]
        columns = [item.centres[f, 0] for item, f in zip(firsts, starts, strict=True)]
        assert columns == sorted(columns)
        if "moves" in question:
            told = re.findall("|".join(MOTIONS), answer)
            assert told == [item.motion for item in firsts]


def test_when_counts_the_frames_that_the_model_sees():
    partial = 0
    for scene, _, answer, (target,) in turns_of("when"):
        start, end = map(int, re.search(r"frames:\((\d),(\d)\)", answer).groups())
        shown = scene.mask(target)[scene.llm_frames].any(axis=(1, 2))
        assert np.flatnonzero(shown).tolist() == list(range(start, end))
        partial += end - start < 8
    assert partial >= 40


def test_absent_objects_are_absent():
    for scene, question, answer, targets in turns_of("absent"):
        phrase = re.search(r"the ([a-z ]+)[.?]", question).group(1)
        assert targets == ()
        assert "[SEG]" not in answer
        assert answer == f"There is no {phrase} in the video."
        assert not [item for item in scene.objects if fits(item, phrase)]


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
@pytest.mark.parametrize("level", ["shapes", "things", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_at_every_level_and_difficulty(kind, level, difficulty):
    for seed in range(3):
        sample = make_sample(seed, kinds=(kind,), level=level, difficulty=difficulty, image=False, turns=1)
        assert [turn.kind for turn in sample.turns] == [kind]
        assert sample.level == level


def test_frequencies():
    samples = [make_sample(seed, size=48, frames=8) for seed in range(500)]
    images = np.mean([sample.is_image for sample in samples])
    several = np.mean([len(sample.turns) > 1 for sample in samples])
    kinds = Counter(sample.turns[0].kind for sample in samples)
    assert 0.06 < images < 0.14
    assert 0.19 < several < 0.31
    assert set(kinds) == set(KINDS)
    assert kinds["look"] == max(kinds.values())
    assert not [s for s in samples if s.is_image and {"motion", "when"} & {turn.kind for turn in s.turns}]
    assert all("image" not in t.question + t.answer for s in samples if not s.is_image for t in s.turns)


def test_no_question_twice_and_masks_follow_the_turns():
    for seed in range(40):
        sample = make_sample(seed, turns=3)
        questions = [(turn.kind, turn.targets) for turn in sample.turns if turn.kind != "absent"]
        assert len(set(questions)) == len(questions)
        targets = [target for turn in sample.turns for target in turn.targets]
        assert all(np.array_equal(m, sample.meta.id_map == t) for m, t in zip(sample.masks, targets, strict=True))


def test_the_answer_follows_from_the_question():
    """Asked twice of one scene, the same question gets the same answer whatever the random stream."""
    scene = make_scene(5, wants=("look", "relation", "description"))
    answers: dict[str, set[str]] = {}
    for seed in range(60):
        for turn in dialogues(scene, np.random.default_rng(seed), 6):
            answers.setdefault(turn.question, set()).add(turn.answer)
    assert len(answers) > 8
    assert all(len(found) == 1 for found in answers.values())


def test_dialogues_honour_count_and_kinds():
    scene = make_scene(9, wants=("motion", "when", "look"))
    turns = dialogues(scene, np.random.default_rng(0), 5, ("look", "motion", "absent"))
    assert len(turns) == 5
    assert {turn.kind for turn in turns} <= {"look", "motion", "absent"}
    assert len(dialogues(scene, np.random.default_rng(0), 1000)) < 100


def test_the_language_is_closed():
    words = vocabulary()
    assert words == sorted(set(words))
    used = {piece for turn in all_texts(range(300)) for piece in pieces(turn.question) + pieces(turn.answer)}
    used |= {piece for turn in all_texts(range(40), image=True) for piece in pieces(turn.question) + pieces(turn.answer)}
    assert used <= set(words)
    assert len(used) > 0.8 * len(words)


def test_articles():
    assert [with_article(n) for n in ("orange star", "umbrella", "ufo", "unicorn", "dog", "egg")] == [
        "an orange star", "an umbrella", "a ufo", "a unicorn", "a dog", "an egg",
    ]  # fmt: skip


def test_a_world_of_single_objects_asks_what_one_object_can_answer():
    single = Difficulty("single", (1, 1), (34, 50), (40, 60), 0, 0, 0, 0, 0, EASY.grounds, EASY.motions)
    kinds = {turn.kind for seed in range(40) for turn in make_sample(seed, difficulty=single, level="shapes").turns}
    assert kinds == {"look", "description", "when", "absent"}
