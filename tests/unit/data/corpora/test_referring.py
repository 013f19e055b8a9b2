"""MeViS, Ref-YouTube-VOS and Ref-DAVIS17 in their layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.data.corpora.disk import LEFT, MIDDLE, NAMES, RIGHT, H, W, edit, frames, labels, mevis, packed, png, put
from vglamm.data.corpora import read
from vglamm.data.corpora.referring import DAVIS_PASSES
from vglamm.errors import CorpusError


def test_mevis_asks_and_scores_each_expression(tmp_path):
    mevis(tmp_path)
    dog, cats, both = read("mevis", tmp_path, "valid_u")
    assert dog.question == "What is the dog on the left in this video? Please respond with segmentation masks."
    assert dog.meta["exp_id"] == "0"
    assert dog.meta["frames"] == tuple(NAMES), "sorted, whatever the order of the index"
    assert dog.meta["expression"] == "The  Dog on the left"
    assert {case.video for case in (dog, cats, both)} == {"mevis/ab"}
    np.testing.assert_array_equal(dog.truth.masks(), np.stack([LEFT] * 3)[None])
    np.testing.assert_array_equal(cats.truth.masks([1]), MIDDLE[None, None], "object 2 is hidden on frame 1")


def test_t8_masks_of_several_objects_are_joined_not_summed(tmp_path):
    mevis(tmp_path)
    both = list(read("mevis", tmp_path, "valid_u"))[2].truth.masks()
    assert both.dtype == np.bool_
    assert (LEFT & MIDDLE).any()
    np.testing.assert_array_equal(both[0, 0], LEFT | MIDDLE)


def test_mevis_valid_has_no_masks(tmp_path):
    mevis(tmp_path, "valid")
    cases = list(read("mevis", tmp_path, "valid"))
    assert len(cases) == 3
    assert all(case.usable and not case.truth.has_masks for case in cases)


def test_mevis_keeps_videos_of_one_frame(tmp_path):
    folder = mevis(tmp_path, "valid")
    edit(folder / "meta_expressions.json", lambda index: index["videos"]["ab"].update(frames=NAMES[:1]))
    assert [case.usable for case in read("mevis", tmp_path, "valid")] == [True] * 3


def _without_exp(index: Any) -> None:
    del index["videos"]["ab"]["expressions"]["1"]["exp"]


def _climbing(index: Any) -> None:
    index["videos"]["ab"]["frames"] = ["../../secret"]


def _twice(index: Any) -> None:
    index["videos"]["ab"]["frames"] = [NAMES[0], NAMES[0]]


@pytest.mark.parametrize(
    ("change", "key"),
    [(_without_exp, "'exp'.*at videos/ab/expressions/1"), (_climbing, "secret.*videos/ab/frames/0"), (_twice, "listed twice")],
)
def test_a_broken_index_names_file_and_key(tmp_path, change, key):
    index = mevis(tmp_path) / "meta_expressions.json"
    edit(index, change)
    with pytest.raises(CorpusError, match=key) as caught:
        list(read("mevis", tmp_path, "valid_u"))
    assert str(index) in str(caught.value)


def test_a_missing_annotation_and_a_short_list_are_problems_of_their_cases(tmp_path):
    masks = mevis(tmp_path) / "mask_dict.json"
    edit(masks, lambda lists: (lists.pop("12"), lists.update({"11": lists["11"][:2]})))
    dog, cats, both = read("mevis", tmp_path, "valid_u")
    assert "masks of 2 frames" in str(dog.problem)
    assert "'12'" in str(cats.problem)
    assert not both.usable


def test_a_mask_of_another_size_is_an_error_that_names_its_place(tmp_path):
    masks = mevis(tmp_path) / "mask_dict.json"
    edit(masks, lambda lists: lists["11"].__setitem__(1, packed(np.ones((H, W + 1), bool))))
    dog = next(read("mevis", tmp_path, "valid_u"))
    assert dog.truth.masks([0]).any()
    with pytest.raises(CorpusError, match=r"mask_dict\.json at 11/1"):
        dog.truth.masks()


def _ytvos(root: Path) -> Path:
    folder = root / "refer_youtube_vos"
    for split in ("valid", "train"):
        frames(folder / split / "JPEGImages" / "v1", NAMES)
    labels(folder / "train" / "Annotations" / "v1", NAMES)
    plain = {"frames": NAMES, "expressions": {"0": {"exp": "a dog"}, "1": {"exp": "a cat"}}}
    known = {"0": {"exp": "a dog", "obj_id": "1"}, "1": {"exp": "a cat", "obj_id": "2"}}
    put(folder / "meta_expressions/valid/meta_expressions.json", {"videos": {"v1": plain, "v2": plain}})
    put(folder / "meta_expressions/test/meta_expressions.json", {"videos": {"v2": plain}})
    put(folder / "meta_expressions/train/meta_expressions.json", {"videos": {"v1": {"frames": NAMES, "expressions": known}}})
    put(folder / "train/meta.json", {"videos": {"v1": {"objects": {"1": {"category": "dog"}, "2": {"category": "cat"}}}}})
    return folder


def test_ref_youtube_vos_valid_is_what_is_not_test(tmp_path):
    _ytvos(tmp_path)
    cases = list(read("ref_youtube_vos", tmp_path, "valid"))
    assert [case.id for case in cases] == ["ref_youtube_vos/valid/v1/0", "ref_youtube_vos/valid/v1/1"]
    assert not any(case.truth.has_masks for case in cases)
    assert all(case.usable for case in cases)


def test_ref_youtube_vos_train_reads_the_palette(tmp_path):
    _ytvos(tmp_path)
    dog, cat = read("ref_youtube_vos", tmp_path, "train")
    np.testing.assert_array_equal(dog.truth.masks([2]), LEFT[None, None])
    np.testing.assert_array_equal(cat.truth.masks([0]), RIGHT[None, None])


def test_an_object_that_the_video_does_not_have_is_not_an_empty_mask(tmp_path):
    folder = _ytvos(tmp_path)
    index = folder / "meta_expressions/train/meta_expressions.json"
    edit(index, lambda found: found["videos"]["v1"]["expressions"]["1"].update(obj_id="7"))
    dog, cat = read("ref_youtube_vos", tmp_path, "train")
    assert dog.usable
    assert "'7'" in str(cat.problem)


def test_label_maps_of_another_size_or_in_colour_are_errors(tmp_path):
    folder = _ytvos(tmp_path) / "train/Annotations/v1"
    png(folder / f"{NAMES[1]}.png", np.zeros((H, W, 3)))
    png(folder / f"{NAMES[2]}.png", np.zeros((W, H)))
    truth = next(read("ref_youtube_vos", tmp_path, "train")).truth
    with pytest.raises(CorpusError, match="mode RGB"):
        truth.masks([1])
    with pytest.raises(CorpusError, match=r"size \[8, 6\]"):
        truth.masks([2])
    (folder / f"{NAMES[0]}.png").unlink()
    assert "00000.png" in str(next(read("ref_youtube_vos", tmp_path, "train")).problem)


def _davis(root: Path, obj_id: bool) -> Path:
    folder = root / "processed/refer_davis/2017"
    frames(folder / "valid/JPEGImages/bear", NAMES)
    for name in NAMES:
        png(folder / f"valid/Annotations/bear/{name}.png", np.where(LEFT, 1, np.where(RIGHT, 2, np.where(MIDDLE, 255, 0))), True)
    entries = {str(i): {"exp": f"Object {i}"} | ({"obj_id": str(i // 4 + 1)} if obj_id else {}) for i in range(8)}
    return put(
        folder / "meta_expressions/valid/meta_expressions.json", {"videos": {"bear": {"frames": NAMES, "expressions": entries}}}
    )


@pytest.mark.parametrize("obj_id", [True, False])
def test_ref_davis17_has_four_passes(tmp_path, obj_id):
    _davis(tmp_path, obj_id)
    cases = list(read("ref_davis17", tmp_path, "valid"))
    assert [case.meta["annotator"] for case in cases] == [0, 1, 2, 3] * 2
    assert [case.meta["object"] for case in cases] == [1] * 4 + [2] * 4
    assert {case.meta["pass"] for case in cases} == set(DAVIS_PASSES)
    assert cases[0].question == "What is object 0 in this video? Please respond with segmentation masks."
    np.testing.assert_array_equal(cases[5].truth.masks([1]), RIGHT[None, None])
    np.testing.assert_array_equal(cases[5].truth.ignored([1]), (MIDDLE & ~LEFT & ~RIGHT)[None])


def test_ref_davis17_with_a_pass_missing_or_out_of_order_is_refused(tmp_path):
    index = _davis(tmp_path, True)
    edit(index, lambda found: found["videos"]["bear"]["expressions"]["3"].update(obj_id="2"))
    with pytest.raises(CorpusError, match="another obj_id"):
        list(read("ref_davis17", tmp_path, "valid"))
    edit(index, lambda found: found["videos"]["bear"]["expressions"].pop("7"))
    with pytest.raises(CorpusError, match="7 expressions"):
        list(read("ref_davis17", tmp_path, "valid"))
