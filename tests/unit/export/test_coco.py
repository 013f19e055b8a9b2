"""Both dialects of COCO for videos, read by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.unit.export.runs import INDICES, SIZE, an_answer, failed, moving, ok, write_run
from vglamm.export.formats import export

# pycocotools 2.0.11 decodes in a way that numpy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


def test_ytvis_holds_every_object_through_time(tmp_path: Path) -> None:
    third = np.zeros((1, 1, *SIZE), np.bool_)
    rows = [ok("a"), failed(), ok("a#2", an_answer(third, (5,))), ok("b/c", an_answer(np.zeros((0, 4, *SIZE), np.bool_)))]
    export(write_run(tmp_path / "run", rows), "ytvis", tmp_path / "out.json")
    body = json.loads((tmp_path / "out.json").read_text())
    assert [category["name"] for category in body["categories"]] == ["object"]
    assert [video["id"] for video in body["videos"]] == [1, 2, 3]
    assert [video["name"] for video in body["videos"]] == ["a", "a#2", "b/c"]
    first = body["videos"][0]
    assert (first["height"], first["width"], first["length"]) == (*SIZE, 4)
    assert first["file_names"] == ["a/00000.jpg", "a/00003.jpg", "a/00006.jpg", "a/00009.jpg"]
    assert body["videos"][2]["file_names"][0] == "b%2Fc/00000.jpg"

    annotations = body["annotations"]
    assert [(a["id"], a["video_id"], a["phrase"], a["score"]) for a in annotations] == [
        (1, 1, "thing 1", 0.9), (2, 1, "thing 2", 0.8), (3, 2, "thing 1", 0.9),
    ]  # fmt: skip
    for annotation, masks in zip(annotations, [*moving(), *third], strict=True):
        for code, box, area, mask in zip(
            annotation["segmentations"], annotation["bboxes"], annotation["areas"], masks, strict=True
        ):
            if not mask.any():
                assert code is box is area is None
                continue
            assert np.array_equal(coco_mask.decode(code), mask)
            assert box == coco_mask.toBbox(code).tolist()
            assert area == mask.sum()


def test_coco_vid_is_read_by_pycocotools(tmp_path: Path) -> None:
    rows = [ok("a"), ok("b", an_answer(moving(1), INDICES)), failed()]
    export(write_run(tmp_path / "run", rows), "coco-vid", tmp_path / "out.json")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out.json"))
    assert len(coco.getImgIds()) == 8
    masks = {("a", 0): moving()[0], ("a", 1): moving()[1], ("b", 0): moving(1)[0]}
    instances = {1: ("a", 0), 2: ("a", 1), 3: ("b", 0)}
    seen = 0
    for image in coco.loadImgs(coco.getImgIds()):
        assert image["frame_number"] == INDICES[image["frame_id"]]
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            video, track = instances[annotation["instance_id"]]
            assert image["file_name"] == f"{video}/{image['frame_number']:05d}.jpg"
            mask = masks[video, track][image["frame_id"]]
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            assert annotation["phrase"] == f"thing {track + 1}"
            assert coco.loadCats(annotation["category_id"])[0]["name"] == "object"
            seen += 1
    assert seen == sum(int(through_time.any(axis=(1, 2)).sum()) for through_time in masks.values()) == 10
