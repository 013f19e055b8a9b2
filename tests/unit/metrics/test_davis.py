import numpy as np
import pytest

from tests.unit.metrics.cases import answered, block, case_of, failed
from vglamm.data.corpora.case import Case
from vglamm.errors import CorpusError
from vglamm.metrics.davis import fuse, match_unsupervised, score_pass, summarise_passes
from vglamm.metrics.score import Record, Resampling

LEFT, RIGHT = (10, 10, 20, 20), (10, 50, 20, 60)
QUICK = Resampling(resamples=50)


def expression(annotator: int, number: int, frames: int = 6, clip: tuple[int, int] | None = None, **more) -> Case:
    name = f"ref_davis17/valid/v/{4 * number + annotator}" + (f"@{clip[0] // 3}" if clip else "")
    meta = {"annotator": annotator, "object": number + 1} | ({"clip": clip} if clip else {})
    return case_of(block(frames, (LEFT, RIGHT)[number]), name, meta=meta, **more)


def record(case: Case, *said: tuple[int, int, int, int]) -> Record:
    first, stop = case.meta.get("clip", (0, case.truth.frames))
    return score_pass(case, answered(case, block(stop - first, *said), grounding=range(first, stop)))


def test_fuse_gives_a_pixel_to_the_first_object_that_has_it():
    masks = np.array([[[[0, 1, 1, 0]]], [[[0, 0, 1, 1]]]], dtype=bool)
    assert fuse(masks).tolist() == [[[0, 1, 1, 2]]]


def test_labels_are_assigned_where_j_and_f_are_best():
    assert match_unsupervised(np.array([[0.1, 0.9], [0.8, 0.7]]), np.array([[0.1, 0.9], [0.8, 0.9]])) == [(0, 1), (1, 0)]


def test_a_pass_is_matched_when_published_and_each_expression_by_itself_when_corrected():
    swapped = [record(expression(0, 0), RIGHT), record(expression(0, 1), LEFT)]
    same = [record(expression(1, 0), LEFT), record(expression(1, 1), LEFT)]  # the first takes the pixels, the second has none
    (section,) = summarise_passes(swapped + same, QUICK).sections
    assert [row.published.value for row in section.rows] == pytest.approx([75, 75, 75])
    assert [row.corrected.value for row in section.rows] == pytest.approx([25, 25, 25])
    assert section.rows[0].published.n == section.rows[0].corrected.n == 4


def test_the_mean_is_of_passes_whatever_their_number_of_objects():
    whole = [record(expression(0, 0), LEFT), record(expression(0, 1), RIGHT)]
    alone = [record(expression(1, 0), RIGHT)]
    (section,) = summarise_passes(whole + alone, QUICK).sections
    assert section.rows[0].published.value == pytest.approx(50)
    assert section.rows[0].corrected.value == pytest.approx(100 * 2 / 3)


def test_clips_are_put_end_to_end():
    records = []
    for number in (0, 1):
        for clip in ((0, 3), (3, 6)):
            place = RIGHT if number == 1 or clip[0] else LEFT  # the first object is lost in the second clip
            records.append(record(expression(2, number, clip=clip), place))
    part = summarise_passes(records[::-1], QUICK)
    # label 1: left, then right, where it covers label 2: J of (1, left) .5, of (2, right) .5
    assert part.sections[0].rows[0].published.value == pytest.approx(50)
    assert any("clips" in note for note in part.notes)


def test_an_expression_without_an_answer_is_an_empty_label():
    records = [record(expression(0, 0), LEFT), score_pass(case := expression(0, 1), failed(case))]
    row = summarise_passes(records, QUICK).sections[0].rows[0]
    assert (row.published.value, row.corrected.value) == (pytest.approx(50), pytest.approx(50))


def test_a_pass_with_a_truth_that_cannot_be_read_is_left_out_of_published_alone():
    broken = expression(0, 1, problem=CorpusError("no file", "a file", "get it"))
    records = [record(expression(0, 0), LEFT), score_pass(broken, None), record(expression(1, 0), LEFT)]
    part = summarise_passes(records, QUICK)
    row = part.sections[0].rows[0]
    assert (row.published.value, row.published.n) == (pytest.approx(100), 1)
    assert row.corrected.value == pytest.approx(100 * 2 / 3)
    assert any("1 passes of a video left out" in note for note in part.notes)


def test_records_survive_json():
    one = record(expression(0, 0), LEFT)
    import json

    assert Record.from_row(json.loads(json.dumps(one.to_row()))) == one
