"""Grounded conversations in their layouts, and what the published readers got wrong there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.data.corpora.disk import LEFT, MIDDLE, NAMES, RIGHT, H, W, edit, frames, labels, mevis, packed, png, put, unpacked
from vglamm.data.corpora import read
from vglamm.errors import CorpusError

QUESTION = (
    "Could you please give me a detailed description of the video? Please respond with interleaved segmentation masks for the "
    "corresponding parts of the answer."
)


def _video(number: int, folder: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_names": [f"{folder}/{n}.jpg" for n in NAMES], "width": W, "height": H, "length": 3, **more}


def _annotation(number: int, video: int, mask: np.ndarray, hidden: bool = False) -> dict[str, Any]:
    rles = [unpacked(mask), None if hidden else packed(mask), packed(mask)]
    return {"id": number, "video_id": video, "category_id": 1, "segmentations": rles}


def _words(root: Path, split: str = "test") -> Path:
    """Video 7 of YouTube-VIS, video 9 of BURST (whose folder holds a frame that is not annotated)."""
    frames(root / "ytvis/vos/train/JPEGImages/aa", NAMES)
    frames(root / "burst/frames/val/YFCC/bb", [*NAMES, "00012"])
    said = {"v_id2o_id": {}, "caption": "A man, and two dogs play.", "token_pos": [4, 1, 4], "mask_id": [70, 71, 72]}
    other = {"v_id2o_id": {}, "caption": "A cat", "token_pos": [1], "mask_id": [90]}
    videos = [
        _video(7, "aa", metadata={"dataset": "yt19"}, dense_cap=said),
        _video(9, "YFCC/bb", dataset_split="burst", dense_cap=other),
    ]
    annotations = [_annotation(90, 9, LEFT), _annotation(71, 7, LEFT), _annotation(72, 7, RIGHT), _annotation(70, 7, MIDDLE, True)]
    return put(root / f"video_gcg/instruction_data/{split}.json", {"videos": videos, "annotations": annotations})


def test_video_gcg_marks_words_and_joins_equal_ones(tmp_path):
    _words(tmp_path)
    man, cat = read("video_gcg", tmp_path, "test")
    assert man.question == QUESTION
    assert man.truth.caption == "A man, and two dogs play."
    assert man.truth.phrases == ("man", "dogs"), "in the order of the caption, not of the index; without punctuation"
    masks = man.truth.masks()
    assert masks.shape == (2, 3, H, W)
    np.testing.assert_array_equal(masks[0], np.stack([LEFT] * 3))
    np.testing.assert_array_equal(masks[1], np.stack([MIDDLE | RIGHT, RIGHT, MIDDLE | RIGHT]))
    assert (cat.id, cat.video, cat.meta["source"]) == ("video_gcg/test/9", "video_gcg/9", "burst")
    assert man.usable
    assert cat.usable


def test_video_gcg_shows_the_annotated_frames_only(tmp_path):
    _words(tmp_path)
    cat = list(read("video_gcg", tmp_path, "test"))[1]
    assert len(cat.media.open()) == 3
    assert cat.row(tmp_path / "links")["uri"].startswith(str(tmp_path / "links"))


def _change(videos: int, **more: Any) -> Any:
    return lambda index: index["videos"][videos].update(more)


def _caption(**more: Any) -> Any:
    return lambda index: index["videos"][0]["dense_cap"].update(more)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_caption(caption=None, token_pos=None, mask_id=None), "dense_cap/caption"),
        (_caption(token_pos=[-1, 1, 4]), "token_pos/0"),
        (_caption(token_pos=[6, 1, 4]), "word 6"),
        (_caption(mask_id=[70, 71, 99]), "mask id 99"),
        (_caption(mask_id=[70, 71, 90]), "annotation of video 9"),
        (_caption(mask_id=[70, 71]), "3 token_pos and 2 mask_id"),
        (_change(0, length=4), "4 frames"),
        (_change(0, width=W + 1), "height and width"),
        (lambda index: index["annotations"][1]["segmentations"].pop(), "masks of 2 frames"),
    ],
)
def test_what_does_not_fit_is_the_problem_of_its_case(tmp_path, change, told):
    edit(_words(tmp_path), change)
    man, cat = read("video_gcg", tmp_path, "test")
    assert told in str(man.problem)
    assert cat.usable


def test_video_gcg_with_a_broken_rle_names_it(tmp_path):
    index = _words(tmp_path)
    edit(index, lambda found: found["annotations"][1]["segmentations"][0].update(counts=[3, 4]))
    truth = next(read("video_gcg", tmp_path, "test")).truth
    with pytest.raises(CorpusError, match=r"test\.json at annotations/1/segmentations/0"):
        truth.masks()


def test_an_id_that_comes_twice_is_refused(tmp_path):
    edit(_words(tmp_path), _change(1, id=7))
    with pytest.raises(CorpusError, match="two cases of id video_gcg/test/7"):
        list(read("video_gcg", tmp_path, "test"))


def test_ytvos_gcg_reads_captions_by_name(tmp_path):
    frames(tmp_path / "refer_youtube_vos/train/JPEGImages/v1", NAMES)
    labels(tmp_path / "refer_youtube_vos/train/Annotations/v1", NAMES)
    put(tmp_path / "ytvos_gcg/train/v1.json", {"caption": "Here [a man](1) and [two dogs](2, 1) play."})
    put(tmp_path / "ytvos_gcg/train/v0.json", {"caption": "Nobody [at all](x)."})
    missing, case = read("ytvos_gcg", tmp_path)
    assert missing.video == "ytvos_gcg/v0"
    assert not missing.usable
    assert case.truth.caption == "Here a man and two dogs play."
    assert case.truth.phrases == ("a man", "two dogs")
    np.testing.assert_array_equal(case.truth.masks([1])[:, 0], np.stack([LEFT, LEFT | RIGHT]))


def test_t15_mevis_gcg_may_name_any_objects_in_any_order(tmp_path):
    """No expression lists objects 2 and 1 together, nor 3 before 1, nor 2 alone."""
    mevis(tmp_path)
    put(tmp_path / "mevis_gcg/valid_u/ab.json", {"caption": "[Both](2, 1) near [some](3, 1) and [one](2)"})
    (case,) = read("mevis_gcg", tmp_path)
    assert case.usable
    np.testing.assert_array_equal(case.truth.masks([0])[:, 0], np.stack([LEFT | RIGHT, LEFT | MIDDLE, RIGHT]))


def test_mevis_gcg_knows_the_objects_and_videos_that_do_not_exist(tmp_path):
    mevis(tmp_path)
    put(tmp_path / "mevis_gcg/valid_u/ab.json", {"caption": "[Both](1, 8)"})
    put(tmp_path / "mevis_gcg/valid_u/zz.json", {"caption": "[Both](1)"})
    wrong_object, wrong_video = read("mevis_gcg", tmp_path)
    assert "object 8" in str(wrong_object.problem)
    assert "'zz'" in str(wrong_video.problem)
    assert wrong_video.truth.phrases == ("Both",), "a failed case still counts its phrases"


def _folders(root: Path, task: str = "vidstg_gcg") -> Path:
    video = root / task / "val" / "123"
    frames(video / "frames", ["000004", "000010"], suffix=".png")
    for number, mask in {"001": LEFT, "012": RIGHT}.items():
        for name in ("000004", "000010"):
            png(video / "masks" / number / f"{name}.png", mask * 255)
    put(root / task / "val_captions" / "123.json", {"caption": "[two people](1, 12) and [a bike](12)"})
    return video


@pytest.mark.parametrize("task", ["vidstg_gcg", "hcstvg_gcg"])
def test_t13_every_object_of_a_phrase_counts(tmp_path, task):
    _folders(tmp_path, task)
    (case,) = read(task, tmp_path, "val")
    assert case.meta["frames"] == ("000004", "000010")
    assert case.meta["objects"] == ((1, 12), (12,))
    np.testing.assert_array_equal(case.truth.masks([0])[:, 0], np.stack([LEFT | RIGHT, RIGHT]))


def test_a_mask_missing_on_one_frame_is_noticed_before_anything_is_asked(tmp_path):
    (_folders(tmp_path) / "masks/012/000010.png").unlink()
    (case,) = read("vidstg_gcg", tmp_path, "val")
    assert "000010.png" in str(case.problem)


def _anet(root: Path, count: int = 12) -> Path:
    folder = root / "activitynet_entities_gcg"
    frames(folder / "video_frames/v_x____y/3", [f"{i:02d}" for i in range(10)])
    told = {}
    for i in range(count):
        told[f"[SEG:{i}]"] = {"bbox": [0, 0, 1, 1], "frame_id": 4}
        png(folder / f"masks/v_x____y____3/{i:02d}/mask.png", (LEFT if i % 2 else RIGHT) * 255)
    caption = " and ".join(f"<p>thing {i}</p>[SEG:{i}]" for i in reversed(range(count)))
    return put(folder / "anns/v_x____y____3.json", {"refined_caption": caption, "seg_token_to_obj": told})


def test_t14_t16_all_numbers_are_read_in_the_order_of_the_caption(tmp_path):
    _anet(tmp_path)
    (case,) = read("anet_gcg", tmp_path)
    assert case.usable
    assert case.truth.phrases == tuple(f"thing {i}" for i in reversed(range(12)))
    assert (case.truth.caption or "").startswith("thing 11 and thing 10 and thing 9")
    assert case.truth.shown == (4,)
    masks = case.truth.masks([4])
    assert masks.shape == (12, 1, H, W)
    np.testing.assert_array_equal(masks[:2, 0], np.stack([LEFT, RIGHT]))
    with pytest.raises(CorpusError, match="annotated frames"):
        case.truth.masks([5])
    assert (case.meta["video"], case.meta["segment"]) == ("v_x____y", "3")
    assert len(case.media.open()) == 10


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda entry: entry["seg_token_to_obj"]["[SEG:3]"].update(frame_id=5), "boxes on frames"),
        (lambda entry: entry["seg_token_to_obj"]["[SEG:3]"].update(frame_id=10), "frame 10"),
        (lambda entry: entry["seg_token_to_obj"].pop("[SEG:11]"), "[SEG:11]"),
        (lambda entry: entry.update(refined_caption="[SEG:1] first"), "0 phrases for 1 marks"),
    ],
)
def test_anet_gcg_says_what_is_wrong(tmp_path, change, told):
    edit(_anet(tmp_path), change)
    (case,) = read("anet_gcg", tmp_path)
    assert told in str(case.problem)


def test_the_benchmark_is_three_sets_in_order(tmp_path):
    _words(tmp_path)
    mevis(tmp_path)
    put(tmp_path / "mevis_gcg/valid_u/ab.json", {"caption": "[Both](1, 2)"})
    _folders(tmp_path)
    assert [case.id for case in read("gcg", tmp_path)] == [
        "video_gcg/test/7",
        "video_gcg/test/9",
        "mevis_gcg/valid_u/ab",
        "vidstg_gcg/val/123",
    ]
