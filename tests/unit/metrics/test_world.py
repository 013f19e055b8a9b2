import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from vglamm.errors import ConfigError, MaskError
from vglamm.metrics.world import WorldResult, WorldScore, score_world
from vglamm.metrics.world_report import METRICS, report_markdown, summarise

FRAMES, HEIGHT, WIDTH = 3, 12, 24


def column(start: int, end: int, frames: range = range(FRAMES)) -> np.ndarray:
    mask = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    mask[frames.start : frames.stop, :, start:end] = True
    return mask


RED, BLUE, LATE = column(0, 4), column(8, 12), column(16, 20, range(1, FRAMES))
SCENE = np.stack([RED, BLUE, LATE])
NONE = SCENE[:0]


def result(**changes) -> WorldResult:
    base = {
        "kind": "look",
        "level": 1,
        "truth_masks": SCENE[[0, 2]],
        "predicted_masks": SCENE[[0, 2]],
        "truth_text": "The red circle and the late square.",
        "predicted_text": "The red circle and the late square.",
        "truth_phrases": ("red circle", "late square"),
        "predicted_phrases": ("red circle", "late square"),
        "visible_at_start": (True, False),
        "foreground": SCENE.any(0),
        "other_masks": SCENE,
    }
    return WorldResult(**{**base, **changes})


def absent(**changes) -> WorldResult:
    base = {"kind": "absent", "truth_masks": NONE, "predicted_masks": NONE, "truth_phrases": (), "predicted_phrases": ()}
    texts = {"truth_text": "There is no green star.", "predicted_text": "There is no green star."}
    return result(**{**base, **texts, "visible_at_start": (), "absent": True, **changes})


def test_a_perfect_answer():
    score = score_world(result())
    full = (score.miou, score.miou_start, score.j, score.f, score.jf, score.phrase_recall, score.text_exact)
    assert full == (1, 1, 1, 1, 1, 1, 1)
    assert (score.missed, score.extra_masks, score.absent_right, score.twin_right) == (0, 0, None, None)


def test_j_and_f_of_a_mask_one_pixel_aside():
    red = {"truth_masks": RED[None], "truth_phrases": ("x",), "visible_at_start": (True,)}
    score = score_world(result(**red, predicted_masks=column(1, 5)[None], predicted_phrases=("x",)))
    assert score.j == pytest.approx(3 / 5)
    assert score.f == pytest.approx(2 / 3)  # the true mask has an edge on the right only, the other on both sides
    assert score.jf == pytest.approx((3 / 5 + 2 / 3) / 2)


def test_the_baselines_know_nothing_of_the_question():
    score = score_world(result(predicted_masks=NONE, predicted_phrases=()))
    everything = 3 * 4 + 3 * 4 + 2 * 4  # columns of the scene over all frames
    assert score.miou_everything == pytest.approx((12 / everything + 8 / everything) / 2)
    assert score.miou_start_everything == pytest.approx(12 / everything)
    assert score.miou_random == score.miou_start_random == pytest.approx(1 / 3)
    assert (score.miou, score.miou_start, score.j, score.f, score.phrase_recall, score.missed) == (0, 0, 0, 0, 0, 1)


def test_masks_are_paired_in_the_order_of_the_phrases():
    score = score_world(result(predicted_masks=SCENE[[2, 0]], predicted_phrases=("late square", "red circle")))
    assert score.miou == 0
    assert score.phrase_recall == 1  # recall looks for the phrase wherever it stands


def test_a_mask_too_few_counts_0_and_one_too_many_is_counted():
    few = score_world(result(predicted_masks=SCENE[:1], predicted_phrases=("red circle",)))
    assert (few.miou, few.miou_start, few.j, few.f, few.phrase_recall) == (0.5, 1, 0.5, 0.5, 0.5)
    many = score_world(result(predicted_masks=SCENE[[0, 2, 1]], predicted_phrases=("red circle", "late square", None)))
    assert (many.miou, many.extra_masks) == (1, 1)


def test_iou_is_over_the_whole_tube():
    late = {"truth_masks": LATE[None], "truth_phrases": ("x",), "visible_at_start": (False,)}
    score = score_world(result(**late, predicted_masks=column(16, 20)[None], predicted_phrases=("x",)))
    assert score.miou == pytest.approx(8 / 12)
    assert score.j == pytest.approx(2 / 3)  # frame 0 is marked though nothing is there
    assert score.miou_start is score.miou_start_everything is score.miou_start_random is None


@pytest.mark.parametrize(
    ("phrases", "masks", "recall"),
    [
        (("RED  circle", "late square"), SCENE[[0, 2]], 1),
        (("blue circle", "late square"), SCENE[[0, 2]], 0.5),
        (("red circle", None), SCENE[[0, 2]], 0.5),
        (("red circle", "late square"), np.stack([column(0, 2), column(16, 17)]), 0.5),  # IoU 1/2 and less
    ],
)
def test_phrase_recall_wants_the_text_and_the_mask(phrases, masks, recall):
    assert score_world(result(predicted_phrases=phrases, predicted_masks=masks)).phrase_recall == recall


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, 1),
        ({"predicted_text": "The green star."}, 0),
        ({"predicted_text": "Nothing like that here.", "said_absent": True}, 1),
        ({"said_absent": False}, 0),
        ({"predicted_masks": SCENE[:1], "predicted_phrases": (None,)}, 0),
        ({"predicted_masks": SCENE[:1] & False, "predicted_phrases": (None,)}, 1),
        ({"failed": True}, 0),
        ({"failed": True, "said_absent": True}, 0),
    ],
)
def test_absent_is_right_when_it_is_said_and_nothing_is_marked(changes, right):
    score = score_world(absent(**changes))
    assert score.absent_right == right
    assert score.miou is score.j is score.phrase_recall is score.missed is score.miou_everything is None


@pytest.mark.parametrize(("mask", "right"), [(RED, 1), (BLUE, 0), (column(2, 9), 1), (column(3, 9), 0), (RED & False, 0)])
def test_the_right_twin_is_the_one_with_more_overlap(mask, right):
    twins = result(kind="motion", truth_masks=RED[None], truth_phrases=("x",), visible_at_start=(True,), twin_mask=BLUE)
    assert score_world(replace(twins, predicted_masks=mask[None], predicted_phrases=("x",))).twin_right == right


def test_no_mask_is_not_the_right_twin():
    assert score_world(result(twin_mask=BLUE, predicted_masks=NONE, predicted_phrases=())).twin_right == 0


def test_a_failed_question_scores_0_whatever_it_holds():
    score = score_world(result(failed=True))
    assert (score.miou, score.jf, score.phrase_recall, score.text_exact, score.missed, score.failed) == (0, 0, 0, 0, 1, True)
    assert score.miou_random == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predicted_masks": SCENE[:2, :, :, 1:]}, "predicted_masks"),
        ({"predicted_phrases": ("red circle",)}, "2 predicted masks and 1 phrases"),
        ({"truth_phrases": ("red circle",)}, "give each true object all three"),
        ({"absent": True}, "0 if absent"),
        ({"twin_mask": BLUE[:2]}, "twin_mask"),
    ],
)
def test_records_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(MaskError, match=message):
        result(**changes)


def test_a_scene_without_objects_is_refused():
    with pytest.raises(MaskError, match="pass them all"):
        score_world(result(other_masks=NONE))


def scores() -> list[WorldScore]:
    wrong = {"predicted_masks": SCENE[[1, 1]], "scene": "b"}
    return [
        score_world(one)
        for one in (
            result(scene="a"),
            result(level=2, **wrong),
            result(kind="motion", level=2, scene="a", twin_mask=BLUE),
            absent(scene="a"),
            result(kind="motion", level=10, failed=True, twin_mask=BLUE),
        )
    ]


def test_the_summary_groups_by_kind_and_level():
    summary = summarise(scores())
    assert (summary["questions"], summary["failed"], summary["blind_questions"]) == (5, 1, 0)
    groups = {(group["kind"], group["level"]): group for group in summary["groups"]}
    assert list(groups) == [
        (None, None),
        *(("absent", None), ("look", None), ("motion", None)),
        *((None, 1), (None, 2), (None, 10)),
        *(("absent", 1), ("look", 1), ("look", 2), ("motion", 2), ("motion", 10)),
    ]
    assert groups[None, None]["metrics"]["miou"]["mean"] == 0.5
    assert groups[None, None]["metrics"]["miou"]["n"] == 4  # the absent object has none
    assert groups["look", 1]["metrics"]["miou"] == {"mean": 1, "low": 1, "high": 1, "n": 1}
    assert groups["look", None]["metrics"]["twin_right"] is None
    assert groups["motion", None]["metrics"]["twin_right"]["mean"] == 0.5
    assert groups["motion", None]["failed"] == 1
    assert groups["absent", None]["metrics"]["absent_right"]["mean"] == 1
    assert all(set(group["metrics"]) == set(METRICS) and group["blind"] is None for group in summary["groups"])


def test_the_summary_is_plain_json_and_repeats():
    summary = summarise(iter(scores()), seed=5, resamples=50)
    assert json.loads(json.dumps(summary)) == summary == summarise(scores(), seed=5, resamples=50)
    assert WorldScore(**json.loads(json.dumps(asdict(scores()[0])))) == scores()[0]


def test_intervals_draw_whole_scenes():
    right, wrong = score_world(result()), score_world(result(predicted_masks=NONE, predicted_phrases=()))

    def width(right_scene: str, wrong_scene: str) -> float:
        scores = [replace(right, scene=right_scene)] * 20 + [replace(wrong, scene=wrong_scene)] * 20
        cell = summarise(scores)["groups"][0]["metrics"]["miou"]
        return cell["high"] - cell["low"]

    assert width("a", "b") == 1  # two scenes: a draw may hold one of them twice
    assert 0.2 < width("", "") < 0.4  # forty scenes


def test_the_blind_control_stands_beside():
    blind = [score_world(result(predicted_masks=SCENE[[1, 1]]))]
    summary = summarise(scores(), blind)
    groups = {(group["kind"], group["level"]): group for group in summary["groups"]}
    assert summary["blind_questions"] == 1
    assert groups["look", 1]["blind"]["miou"]["mean"] == 0
    assert groups["motion", None]["blind"] is None
    report = report_markdown(summary)
    assert "| mIoU | 1.000 | [1.000, 1.000] | 1 | 0.000 [0.000, 0.000] |" in report
    assert "asked of another video (1 questions)" in report


def test_the_report_says_what_was_not_run_and_leaves_out_what_does_not_apply():
    report = report_markdown(summarise(scores()))
    assert "Blind control: not run." in report
    sections = {part.splitlines()[0]: part for part in report.split("## ")[1:]}
    assert len(sections) == 12
    assert "mIoU if everything is marked" in sections["look, all levels"]
    assert "right twin" not in sections["look, all levels"]
    assert "right twin" in sections["motion, level 2"]
    assert "mIoU" not in sections["absent, all levels"]
    assert "1 questions, 1 failed." in sections["motion, level 10"]


def test_no_scores_is_an_error():
    with pytest.raises(ConfigError, match="at least one question"):
        summarise([])
