import numpy as np
import pytest

from tests.unit.metrics.cases import SIZE, answered, block, case_of, failed
from vglamm.data.corpora.case import Case, Media, Truth
from vglamm.errors import ConfigError, CorpusError
from vglamm.metrics.referring import score_expression, score_image, summarise_expressions, summarise_images
from vglamm.metrics.score import Resampling

LEFT, RIGHT = (10, 10, 20, 20), (10, 50, 20, 60)
QUICK = Resampling(resamples=50)


def test_the_first_object_is_published_and_all_objects_are_corrected():
    case = case_of(block(3, LEFT))
    record = score_expression(case, answered(case, block(3, LEFT, RIGHT)))
    assert record.published == {"j": 1, "f": 1, "jf": 1}
    # half of what is marked is right, in pixels and along the boundary: precision .5, recall 1
    assert record.corrected == pytest.approx({"j": 0.5, "f": 2 / 3, "jf": (0.5 + 2 / 3) / 2})
    assert record.status == "ok"


def test_the_truth_is_the_union_of_its_objects():
    case = case_of(block(3, LEFT, RIGHT))
    record = score_expression(case, answered(case, block(3, LEFT, RIGHT)))
    assert record.corrected == {"j": 1, "f": 1, "jf": 1}
    assert record.published == pytest.approx({"j": 0.5, "f": 2 / 3, "jf": (0.5 + 2 / 3) / 2})


def test_a_frame_without_an_answer_is_an_empty_mask():
    case = case_of(block(6, LEFT))
    record = score_expression(case, answered(case, block(3, LEFT), grounding=(0, 2, 5)))
    assert record.corrected == record.published == {"j": 0.5, "f": 0.5, "jf": 0.5}


def test_frames_that_are_not_annotated_do_not_count():
    case = case_of(block(6, LEFT), shown=(1, 4))
    record = score_expression(case, answered(case, block(1, LEFT), grounding=(4,)))
    assert record.corrected["j"] == 0.5


def test_a_failed_case_is_empty_masks_to_the_server_and_0_here():
    masks = block(4, LEFT)
    masks[:, 2:] = False  # it leaves: an empty mask is right on two frames
    case = case_of(masks)
    for annotation, reason in ((failed(case), "VideoUnreadable"), (None, "NotAsked")):
        record = score_expression(case, annotation)
        assert record.published == {"j": 0.5, "f": 0.5, "jf": 0.5}
        assert record.corrected == {"j": 0, "f": 0, "jf": 0}
        assert (record.status, record.reason) == ("failed", reason)
    assert score_expression(case, failed(case, "Present", "skipped")).status == "skipped"
    # an answer without a mask, or with an empty one, misses what is there
    for said in (block(4), block(4, None)):
        record = score_expression(case, answered(case, said))
        assert (record.status, record.corrected["j"], record.published["j"]) == ("ok", 0, 0.5)


def test_nothing_said_of_nothing_there_is_right():
    case = case_of(block(2, None))
    assert score_expression(case, answered(case, block(2))).corrected == {"j": 1, "f": 1, "jf": 1}
    assert score_expression(case, answered(case, block(2, LEFT))).corrected["j"] == 0
    assert score_expression(case, failed(case)).corrected["j"] == 0


def test_ignored_pixels_count_for_nothing():
    void = block(2, RIGHT)[0]
    case = case_of(block(2, LEFT), ignored=void)
    assert score_expression(case, answered(case, block(2, LEFT, RIGHT))).corrected == {"j": 1, "f": 1, "jf": 1}


def test_another_video_is_a_failure_and_a_case_with_a_problem_is_left_out():
    case = case_of(block(4, LEFT))
    record = score_expression(case, answered(case, block(3, LEFT)))
    assert record.status == "ok"  # missing grounding frames alone are no other video
    record = score_expression(case, answered(case, block(3, LEFT), source_frames=3))
    assert (record.status, record.reason, record.corrected["j"]) == ("failed", "CorpusError", 0)
    broken = case_of(block(4, LEFT), problem=CorpusError("no file", "a file", "get it"))
    record = score_expression(broken, None)
    assert (record.published, record.left_out, record.reason) == (None, "CorpusError", "CorpusError")


def test_a_truth_that_cannot_be_read_is_a_failure():
    def reader(frames):
        raise CorpusError("a broken PNG", "a PNG", "get it again")

    case = Case("c", "v", Media("v.mp4"), "What?", Truth(("it",), frames=2, size=SIZE, masks_of=reader))
    record = score_expression(case, answered(case, block(2, LEFT)))
    assert (record.status, record.reason, record.left_out, record.corrected["j"]) == ("failed", "CorpusError", "CorpusError", 0)
    assert score_image(case, answered(case, block(2, LEFT))).reason == "CorpusError"


def test_a_split_without_masks_is_refused():
    case = Case("c", "v", Media("v.mp4"), "What?", Truth(("it",), frames=2, size=SIZE))
    for score in (score_expression, score_image):
        with pytest.raises(ConfigError, match="server"):
            score(case, None)


def test_the_mean_is_over_expressions():
    case, other = case_of(block(2, LEFT)), case_of(block(8, LEFT), "mevis/valid_u/w/0", video="w")
    records = [score_expression(case, answered(case, block(2, LEFT))), score_expression(other, answered(other, block(8, RIGHT)))]
    (section,) = summarise_expressions(records, QUICK).sections
    assert [row.measure.title for row in section.rows] == ["J", "F", "J&F"]
    assert [row.corrected.value for row in section.rows] == [50, 50, 50]
    assert (section.rows[0].corrected.low, section.rows[0].corrected.high, section.rows[0].corrected.n) == (0, 100, 2)


def test_images():
    def image(name, true, said):
        case = case_of(block(1, true), name, video=name)
        return score_image(case, answered(case, block(1, *said)))

    half = image("a", (0, 0, 10, 10), [(0, 0, 10, 5)])  # 50 of 100
    whole = image("b", (0, 0, 20, 20), [(0, 0, 20, 20)])  # 400 of 400
    more = image("c", (0, 0, 10, 10), [(0, 0, 10, 10), (0, 20, 10, 30)])  # the second object is one too many
    nothing = image("d", None, [])
    assert [record.published["giou"] for record in (half, whole, more, nothing)] == [0.5, 1, 1, 1]
    assert [record.corrected["giou"] for record in (half, whole, more, nothing)] == [0.5, 1, 0.5, 1]
    (section,) = summarise_images([half, whole, more, nothing], QUICK).sections
    ciou, giou = section.rows
    assert ciou.published.value == pytest.approx(100 * 550 / 600)
    assert ciou.corrected.value == pytest.approx(100 * 550 / 700)
    assert giou.published.value == pytest.approx(87.5)
    assert giou.corrected.value == pytest.approx(75)


def test_images_that_failed_add_their_truth_to_the_union_in_corrected_mode_alone():
    case, lost = case_of(block(1, LEFT), "a", video="a"), case_of(block(1, LEFT, RIGHT), "b", video="b")
    missing = case_of(block(1, LEFT), "c", video="c", problem=CorpusError("no file", "a file", "get it"))
    broken = Case("d", "d", Media("d.jpg"), "What?", Truth(("it",), frames=1), problem=CorpusError("no mask", "a mask", "get it"))
    records = [score_image(case, answered(case, block(1, LEFT))), score_image(lost, failed(lost))]
    records += [score_image(missing, None), score_image(broken, None)]
    assert [record.left_out for record in records[2:]] == ["CorpusError", "CorpusError"]
    part = summarise_images(records, QUICK)
    ciou, giou = part.sections[0].rows
    assert (ciou.published.value, ciou.published.n) == (100, 1)
    assert (ciou.corrected.value, ciou.corrected.n) == (pytest.approx(100 / 4), 3)
    assert giou.corrected.value == pytest.approx(100 / 4)
    assert "1 cases whose true mask cannot be read" in part.notes[1]


def test_ignored_pixels_of_an_image_and_later_texts():
    case = case_of(block(1, LEFT), ignored=block(1, RIGHT)[0], meta={"text": 1})
    record = score_image(case, answered(case, block(1, RIGHT, LEFT)))
    assert (record.published, record.left_out) == (None, "LaterText")
    assert record.corrected == {"giou": 1}
    assert record.detail == {"first": [0, 100], "union": [100, 100]}
    assert np.isclose(summarise_images([record], QUICK).sections[0].rows[0].corrected.value, 100)
