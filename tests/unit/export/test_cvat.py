"""CVAT's XML, read by a small parser that follows CVAT's importer; masks are decoded by CVAT's own SDK."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from cvat_sdk.masks import decode_mask

from tests.unit.export.runs import INDICES, SIZE, an_answer, failed, moving, ok, write_run
from vglamm.annotation import Annotation
from vglamm.export.cvat import masked
from vglamm.export.formats import export
from vglamm.media import rle


def imported(path: Path) -> tuple[dict[tuple[str, int], np.ndarray], dict[str, list[tuple[int, bool, list[float]]]]]:
    """What CVAT makes of a file: masks by (object, frame), and boxes through time by object. Of a track of masks only the first."""
    masks, boxes = {}, {}
    root = ElementTree.parse(path).getroot()
    assert root.findtext("version") == "1.1"
    labels = {label.findtext("name") for label in root.iterfind("meta/task/labels/label")}
    size = {side: int(root.findtext(f"meta/task/original_size/{side}") or 0) for side in ("width", "height")}
    for track in root.iterfind("track"):
        assert track.attrib["label"] in labels
        shapes = [shape for shape in track if shape.attrib["keyframe"] == "1"]
        told = {attribute.attrib["name"]: attribute.text for attribute in shapes[0].iterfind("attribute")}
        assert told["phrase"] == f"thing {told['object']}"
        assert track.attrib["group_id"] == told["object"]
        if shapes[0].tag == "mask":
            place = [int(shapes[0].attrib[name]) for name in ("left", "top", "width", "height")]
            left, top, width, height = place
            points = [*map(int, shapes[0].attrib["rle"].split(",")), left, top, left + width - 1, top + height - 1]
            key = told["object"], int(shapes[0].attrib["frame"])
            assert key not in masks
            masks[key] = decode_mask(points, image_width=size["width"], image_height=size["height"])
        else:
            corners = [[float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr")] for shape in shapes]
            states = [(int(shape.attrib["frame"]), shape.attrib["outside"] == "1") for shape in shapes]
            boxes[told["object"]] = [(*state, box) for state, box in zip(states, corners, strict=True)]
    return masks, boxes


def written(tmp_path: Path, row: Annotation) -> Path:
    export(write_run(tmp_path / "run", [row, failed()]), "cvat", tmp_path / "out")
    [path] = (tmp_path / "out").glob("*.xml")
    return path


def test_masks_come_back_exactly_and_boxes_through_time(tmp_path: Path) -> None:
    masks, boxes = imported(written(tmp_path, ok("a")))
    wanted = {(str(s + 1), INDICES[k]): moving()[s, k] for s in range(2) for k in range(4) if moving()[s, k].any()}
    assert masks.keys() == wanted.keys()
    assert all(np.array_equal(masks[key], wanted[key]) for key in wanted)
    # the first object is gone at frame 3, and both are not said to be seen after the last grounding frame
    assert [(frame, outside) for frame, outside, _ in boxes["1"]] == [(0, False), (3, True), (6, False), (9, False), (10, True)]
    assert boxes["2"][0] == (0, False, [3.0, 3.0, 8.0, 8.0])
    assert boxes["2"][-1][:2] == (10, True)


def test_nothing_is_said_after_the_end_of_the_video(tmp_path: Path) -> None:
    _, boxes = imported(written(tmp_path, ok("a", an_answer(moving(1), INDICES, 10))))
    assert boxes["1"][-1][:2] == (9, False)


def test_an_object_that_is_never_seen_has_no_track(tmp_path: Path) -> None:
    root = ElementTree.parse(written(tmp_path, ok("a", an_answer(np.zeros((1, 4, *SIZE), np.bool_))))).getroot()
    assert root.find("track") is None


def test_text_that_xml_cannot_hold_does_not_break_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, ok("a<b>&\x07\ufffe"))
    assert path.name == "a%3Cb%3E%26%07%EF%BF%BE.xml"
    assert ElementTree.parse(path).getroot().findtext("meta/task/name") == "a<b>&\ufffd\ufffd"
    labels = json.loads((path.parent / "labels.json").read_text())
    assert [attribute["name"] for attribute in labels[0]["attributes"]] == ["object", "phrase"]


def test_runs_of_a_mask_begin_with_zeros_and_go_along_rows() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 1], [0, 1, 0]], np.bool_)
    [box] = rle.boxes(rle.encode(mask[None]))
    assert box is not None
    assert masked(mask, box) == {"rle": "0, 2, 1, 2, 1", "left": "1", "top": "0", "width": "2", "height": "3"}
