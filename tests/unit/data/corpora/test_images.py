"""The RefCOCO family and ReasonSeg in their layouts, and the pickle that must not be trusted."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.data.corpora.disk import LEFT, edit, packed, put, unpacked
from vglamm.data.corpora import read
from vglamm.errors import CorpusError

H, W = 6, 8
SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (W, H)).save(path)


def _refs() -> list[dict[str, Any]]:
    return [
        {
            "ref_id": 5, "ann_id": 50, "image_id": 1, "split": "val", "category_id": 2, "file_name": "COCO_train2014_1_50.jpg",
            "sent_ids": [0, 1], "sentences": [{"sent": "left dog", "raw": "Left dog"}, {"sent": "the dog", "raw": "the dog"}],
        },
        {"ref_id": 6, "ann_id": [50, 51], "image_id": 1, "split": "val", "sentences": [{"sent": "both"}]},
        {"ref_id": 7, "ann_id": [-1], "image_id": 1, "split": "val", "sentences": [{"sent": "nothing here"}]},
        {"ref_id": 8, "ann_id": 52, "image_id": 1, "split": "testA", "sentences": [{"sent": "the crowd"}]},
    ]  # fmt: skip


def _coco(root: Path, name: str = "refcoco", refs: str = "refs(unc).p", protocol: int = 0) -> Path:
    _picture(root / "refer_seg/images/mscoco/images/train2014/COCO_train2014_1.jpg")
    folder = root / "refer_seg" / name
    far = np.zeros((H, W), bool)
    far[5, 7] = far[2, 2] = True  # the second lies inside the square
    annotations = [
        {"id": 50, "image_id": 1, "segmentation": SQUARE},
        {"id": 51, "image_id": 1, "segmentation": unpacked(far)},
        {"id": 52, "image_id": 1, "segmentation": packed(LEFT)},
    ]
    images = [{"id": 1, "file_name": "COCO_train2014_1.jpg", "height": H, "width": W}]
    put(folder / "instances.json", {"images": images, "annotations": annotations})
    if refs.endswith(".json"):
        put(folder / refs, _refs())
    else:
        (folder / refs).write_bytes(pickle.dumps(_refs(), protocol=protocol))
    return folder


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_every_sentence_is_a_case(tmp_path, protocol):
    _coco(tmp_path, protocol=protocol)
    cases = list(read("refcoco", tmp_path))
    assert [case.id for case in cases] == [f"refcoco/val/{name}" for name in ("5/0", "5/1", "6/0", "7/0")]
    assert cases[0].question == "What is left dog in this image? Please output segmentation mask."
    assert {case.video for case in cases} == {"refcoco/1"}
    assert all(case.usable and case.media.is_image for case in cases)
    (crowd,) = read("refcoco", tmp_path, "testA")
    np.testing.assert_array_equal(crowd.truth.masks(), LEFT[None, None])


def test_masks_are_polygons_or_rle_and_several_are_joined(tmp_path):
    _coco(tmp_path, "grefcoco")
    one, _, both, none = (case.truth.masks()[0, 0] for case in read("grefcoco", tmp_path))
    assert one[1:4, 1:5].all()
    assert one.sum() == 12
    assert both.sum() == 13
    assert both[5, 7]
    assert not none.any()


def test_refcocog_takes_the_umd_split_and_json_is_preferred(tmp_path):
    _coco(tmp_path, "refcocog", "refs(umd).json")
    (tmp_path / "refer_seg/refcocog/refs(umd).p").write_bytes(b"never opened")
    assert len(list(read("refcocog", tmp_path))) == 4


class _Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_unrun(tmp_path, protocol):
    folder, canary = _coco(tmp_path), tmp_path / "canary"
    (folder / "refs(unc).p").write_bytes(pickle.dumps([_Evil(canary)], protocol=protocol))
    with pytest.raises(CorpusError, match=r"not a pickle of plain data.*mkdir"):
        list(read("refcoco", tmp_path))
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"garbage", b"(lp0\nS'cut", b"\x80\x02}q\x00K\x01\x82\x01."])
def test_a_damaged_pickle_is_a_typed_error(tmp_path, content):
    folder = _coco(tmp_path)
    (folder / "refs(unc).p").write_bytes(content)
    with pytest.raises(CorpusError, match="refs"):
        list(read("refcoco", tmp_path))
    (folder / "refs(unc).p").unlink()
    with pytest.raises(CorpusError, match="no file"):
        list(read("refcoco", tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index["annotations"].pop(0), "annotation 50"),
        (lambda index: index["annotations"][0].update(image_id=2), "annotation of image 2"),
        (lambda index: index["images"][0].update(file_name="gone.jpg"), "gone.jpg"),
    ],
)
def test_what_does_not_fit_is_the_problem_of_its_case(tmp_path, change, told):
    edit(_coco(tmp_path) / "instances.json", change)
    cases = list(read("refcoco", tmp_path))
    assert len(cases) == 4
    assert told in str(cases[0].problem)


def test_an_image_or_split_that_the_index_lacks(tmp_path):
    edit(_coco(tmp_path) / "instances.json", lambda index: index["images"][0].update(id=3))
    with pytest.raises(CorpusError, match="image 1"):
        list(read("refcoco", tmp_path))
    with pytest.raises(CorpusError, match="split 'testB'"):
        list(read("refcoco", tmp_path, "testB"))


def test_a_polygon_of_two_points_names_its_place(tmp_path):
    edit(_coco(tmp_path) / "instances.json", lambda index: index["annotations"][0].update(segmentation=[[1, 1, 2, 2]]))
    with pytest.raises(CorpusError, match=r"instances\.json at annotations/0/segmentation"):
        next(read("refcoco", tmp_path)).truth.masks()


def _rectangle(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def _reason(root: Path, sentence: bool = True) -> Path:
    folder = root / "reason_seg/ReasonSeg/val"
    _picture(folder / "a.jpg")
    shapes = [
        {"label": "ignore", "points": _rectangle(2, 1, 3, 2)},
        {"label": "flag", "points": _rectangle(0, 0, 7, 5)},
        {"label": "target", "points": _rectangle(1, 0, 5, 3)},
    ]
    return put(folder / "a.json", {"shapes": shapes, "text": ["What barks?", "Who guards?"], "is_sentence": sentence})


def test_reason_seg_draws_small_shapes_on_large_ones(tmp_path):
    _reason(tmp_path)
    first, second = read("reason_seg", tmp_path)
    assert first.question == "What barks? Please output segmentation mask."
    assert [case.meta["text"] for case in (first, second)] == [0, 1]
    target, ignored = first.truth.masks()[0, 0], first.truth.ignored()
    assert ignored is not None
    expected = np.zeros((H, W), bool)
    expected[1:3, 2:4] = True
    np.testing.assert_array_equal(ignored[0], expected)
    around = np.zeros((H, W), bool)
    around[0:4, 1:6] = True
    np.testing.assert_array_equal(target, around & ~expected)


def test_reason_seg_of_a_phrase_written_on_windows(tmp_path):
    path = _reason(tmp_path, sentence=False)
    entry = json.loads(path.read_text())
    entry["text"] = ["the caf\u00e9 owner\u2019s dog"]
    path.write_bytes(json.dumps(entry, ensure_ascii=False).encode("cp1252"))
    (case,) = read("reason_seg", tmp_path)
    assert case.question == "What is the caf\u00e9 owner\u2019s dog in this image? Please output segmentation mask."


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda entry: entry["shapes"].clear(), "no shape"),
        (lambda entry: entry["shapes"][2].update(points=[[1, 1]]), "shapes/2/points"),
    ],
)
def test_reason_seg_without_a_target_is_a_problem(tmp_path, change, told):
    edit(_reason(tmp_path), change)
    cases = list(read("reason_seg", tmp_path))
    assert len(cases) == 2
    assert told in str(cases[0].problem)
    (tmp_path / "reason_seg/ReasonSeg/val/a.jpg").unlink()
    assert "a.jpg" in str(next(read("reason_seg", tmp_path)).problem)
