from dataclasses import replace

import numpy as np
import pytest

from tests.unit.metrics.cases import answered, block, case_of, failed
from vglamm.annotation import Annotation
from vglamm.data.corpora.case import Case
from vglamm.metrics.score import Record, Resampling
from vglamm.metrics.spatiotemporal import score_in_space, score_in_time, summarise_in_space, summarise_in_time

SAMPLED = (0, 10, 20, 30, 40)
"""Frames of a file of 50 at 10 per second: one a second."""
MOMENT = (10, 34)  # sampled frames 1, 2 and 3
BOX = (10.0, 10.0, 18.0, 18.0)
THERE, BELOW = (10, 10, 18, 18), (25, 10, 33, 18)
QUICK = Resampling(resamples=50)


def question(name: str = "vidstg/test/1", kind: str = "interrogative") -> Case:
    case = case_of(block(50, None), name, meta={"kind": kind}, video=name)
    tube = {frame: BOX for frame in range(MOMENT[0], MOMENT[1] + 1)}
    return replace(case, truth=replace(case.truth, masks_of=None, tube=tube, moment=MOMENT, seconds=(1.0, 3.5)))


def says(case: Case, *places: tuple[int, int, int, int] | None, raw: str = "") -> Annotation:
    marks = " ".join("[SEG]" for _ in places)
    return answered(case, block(len(SAMPLED), *places), raw=f"There. {marks} {raw}", grounding=SAMPLED)


def test_a_published_box_ends_at_its_last_pixel():
    record = score_in_space(question(), says(question(), THERE))
    assert record.corrected == {"gt_viou": 1, "gt_viou@0.3": 1, "gt_viou@0.5": 1}
    assert record.published["gt_viou"] == pytest.approx(49 / 64)
    assert record.group == "interrogative"


def test_the_last_object_is_published_and_all_are_corrected():
    record = score_in_space(question(), says(question(), BELOW, THERE))
    assert record.published["gt_viou"] == pytest.approx(49 / 64)
    assert record.corrected["gt_viou"] == pytest.approx(64 / (23 * 8))  # a box of rows 10 to 33


def test_small_parts_are_removed_from_published_masks():
    masks = block(len(SAMPLED), THERE)
    masks[0, :, 30:33, 60:63] = True  # 9 pixels
    record = score_in_space(question(), answered(question(), masks, grounding=SAMPLED))
    assert record.published["gt_viou"] == pytest.approx(49 / 64)
    assert record.corrected["gt_viou"] == pytest.approx(64 / (23 * 53))


def test_frames_outside_the_moment_do_not_count_and_empty_ones_within_do():
    masks = block(len(SAMPLED), THERE)
    masks[0, [0, 2, 4]] = False
    record = score_in_space(question(), answered(question(), masks, grounding=SAMPLED))
    assert record.corrected["gt_viou"] == pytest.approx(2 / 3)
    assert record.corrected["gt_viou@0.5"] == 1


def test_the_moment_is_read_off_the_text_when_published_and_in_seconds_when_corrected():
    case = question("vidstg_moment/test/1")
    record = score_in_time(case, says(case, THERE, raw="frames:(2,4)"))
    # published: half-open [2, 4) against [1, 3), 1 frame of 3; the hull has 3 frames
    assert record.published["tiou"] == pytest.approx(1 / 3)
    assert record.published["viou"] == pytest.approx(49 / 64 / 3)
    # corrected: frames 2 and 3 of 1, 2 and 3
    assert record.corrected["tiou"] == record.corrected["viou"] == pytest.approx(2 / 3)
    assert record.corrected["viou@0.5"] == 1


def test_no_moment_is_left_out_and_0():
    case = question("vidstg_moment/test/1")
    record = score_in_time(case, says(case, THERE))
    assert (record.published, record.left_out, record.status) == (None, "NoMoment", "ok")
    assert (record.corrected["tiou"], record.corrected["viou"], record.corrected["gt_viou"]) == (0, 0, 1)


def test_what_has_no_prediction_is_dropped_and_0():
    case = question()
    record = score_in_space(case, says(case))
    assert (record.status, record.left_out, record.corrected["gt_viou"]) == ("ok", "NoPrediction", 0)
    record = score_in_space(case, failed(case))
    assert (record.status, record.left_out, record.corrected["gt_viou"]) == ("failed", "VideoUnreadable", 0)
    early = answered(case, block(1, THERE), grounding=(0,))
    record = score_in_space(case, early)
    assert (record.status, record.reason, record.corrected["gt_viou"]) == ("failed", "NoFrameInMoment", 0)


def records(score, raw: str = "") -> list[Record]:
    asked, told = question("a", "interrogative"), question("b", "declarative")
    lost = question("c", "declarative")
    return [score(asked, says(asked, THERE, raw=raw)), score(told, says(told, BELOW, raw=raw)), score(lost, failed(lost))]


def test_the_summary_has_every_type_of_question():
    sections = summarise_in_space(records(score_in_space), QUICK).sections
    assert [(section.group, section.cases) for section in sections] == [("", 3), ("declarative", 2), ("interrogative", 1)]
    assert [row.measure.key for row in sections[0].rows] == ["gt_viou", "gt_viou@0.3", "gt_viou@0.5"]
    assert sections[0].rows[0].published.value == pytest.approx(100 * 49 / 128)
    assert sections[0].rows[0].corrected.value == pytest.approx(100 / 3)
    assert (sections[1].rows[0].published.n, sections[1].rows[0].corrected.n) == (1, 2)
    assert np.isclose(sections[2].rows[1].corrected.value, 100)


def test_the_summary_in_time():
    part = summarise_in_time(records(score_in_time, raw="frames:(1,4)"), QUICK)
    values = {row.measure.key: row.corrected.value for row in part.sections[0].rows}
    assert values["tiou"] == pytest.approx(200 / 3)
    assert values["viou"] == values["viou@0.3"] == pytest.approx(100 / 3)
    assert any("names no moment" in note for note in part.notes)
