"""Annotations that CVAT imports into a task of the video: "CVAT for video 1.1", one XML file for each row.

    <row>.xml      for each object a track of boxes, which carries its identity through time, and its masks
    labels.json    the label and its attributes, to paste as raw labels when the task is made

CVAT has no tracks of masks: its importer keeps the first mask of a track and drops the rest. So each mask is a track of one frame,
as CVAT itself writes masks; the attributes ``object`` and ``phrase``, and ``group_id``, tell which masks and boxes are one object.
Frames are counted as CVAT counts those of a task made from the whole video. There is one label for all: CVAT refuses labels that a
task does not have, and phrases are free text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import numpy as np
from numpy.typing import NDArray

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.export.place import fresh, safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.media import rle
from vglamm.media.rle import Box
from vglamm.show.legend import names

LABEL = "object"
ATTRIBUTES = ("object", "phrase")

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(run: Run, folder: Path, settings: Settings) -> None:
    """Write one XML file for each answered row, and ``labels.json``."""
    attributes = [
        {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]} for name in ATTRIBUTES
    ]
    labels = [{"name": LABEL, "type": "any", "attributes": attributes}]
    (folder / "labels.json").write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")
    for row, answer in answered(run):
        with fresh(folder / f"{safe_name(row.id)}.xml").open("w", encoding="utf-8") as file:
            xml = _Xml(file)
            with xml.inside("annotations"):
                xml.leaf("version", "1.1")
                _write_meta(xml, row, answer)
                for track in range(len(answer.tracks)):
                    _write_object(xml, answer, track)


def masked(mask: NDArray[np.bool_], box: Box) -> dict[str, str]:
    """bool[H, W] and its box as CVAT writes masks: runs of 0 and 1 along the rows of the box, 0s first, and where the box is."""
    left, top, right, bottom = (int(side) for side in box)
    flat = mask[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    runs = [0, *runs] if flat[0] else runs
    place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in place.items()}}


class _Xml:
    """Writes elements as they come, indented; of a text, characters that XML cannot hold become U+FFFD."""

    def __init__(self, file: TextIOWrapper) -> None:
        self.out = XMLGenerator(file, "utf-8", short_empty_elements=True)
        self.depth = self.tracks = 0
        self.out.startDocument()

    def next_id(self) -> int:
        """Numbers of tracks, from 0."""
        self.tracks += 1
        return self.tracks - 1

    @contextmanager
    def inside(self, name: str, attributes: Mapping[str, str] | None = None) -> Iterator[None]:
        self._line()
        self.out.startElement(name, AttributesImpl(dict(attributes or {})))
        self.depth += 1
        yield
        self.depth -= 1
        self._line()
        self.out.endElement(name)

    def leaf(self, name: str, text: str, attributes: Mapping[str, str] | None = None) -> None:
        self._line()
        self.out.startElement(name, AttributesImpl(dict(attributes or {})))
        self.out.characters(_NOT_XML.sub("\ufffd", text))
        self.out.endElement(name)

    def _line(self) -> None:
        self.out.ignorableWhitespace("\n" + "  " * self.depth)


def _write_meta(xml: _Xml, row: Annotation, answer: Answer) -> None:
    frames, (height, width) = answer.sampling.source_frames, answer.sampling.size
    with xml.inside("meta"), xml.inside("task"):
        facts = {"name": row.id, "size": frames, "mode": "interpolation", "overlap": 0, "start_frame": 0, "stop_frame": frames - 1}
        for name, value in facts.items():
            xml.leaf(name, str(value))
        with xml.inside("labels"), xml.inside("label"):
            xml.leaf("name", LABEL)
            xml.leaf("type", "any")
            with xml.inside("attributes"):
                for name in ATTRIBUTES:
                    with xml.inside("attribute"):
                        for key, text in (("name", name), ("mutable", "False"), ("input_type", "text"), ("values", "")):
                            xml.leaf(key, text)
        with xml.inside("original_size"):
            xml.leaf("width", str(width))
            xml.leaf("height", str(height))


def _write_object(xml: _Xml, answer: Answer, number: int) -> None:
    """The track of boxes of an object, then a track for each mask; nothing for one never seen, as CVAT fails on empty tracks."""
    track, indices = answer.tracks[number], answer.sampling.grounding_indices
    about = {"object": str(number + 1), "phrase": names(answer)[number]}
    shared = {"label": LABEL, "source": "auto", "group_id": str(number + 1)}
    boxes = rle.boxes(track.rle)
    if any(box is not None for box in boxes):
        with xml.inside("track", {"id": str(xml.next_id()), **shared}):
            _write_boxes(xml, indices, boxes, about, answer.sampling.source_frames)
    for index, box, code in zip(indices, boxes, track.rle, strict=True):
        if box is not None:
            with xml.inside("track", {"id": str(xml.next_id()), **shared}):
                _write_shape(xml, "mask", index, masked(rle.decode([code], answer.sampling.size)[0], box), about)


def _write_boxes(xml: _Xml, indices: Sequence[int], boxes: Sequence[Box | None], about: dict[str, str], frames: int) -> None:
    """Boxes where the object is seen, and where it is first not seen any more the last box as "outside"."""
    shown: Box | None = None
    for index, box in zip(indices, boxes, strict=True):
        if box is not None:
            _write_shape(xml, "box", index, _corners(box), about)
        elif shown is not None:
            _write_shape(xml, "box", index, _corners(shown), about, outside=True)
        shown = box
    if shown is not None and indices[-1] + 1 < frames:  # or CVAT shows the last box to the end
        _write_shape(xml, "box", indices[-1] + 1, _corners(shown), about, outside=True)


def _write_shape(xml: _Xml, kind: str, frame: int, place: dict[str, str], about: dict[str, str], outside: bool = False) -> None:
    state = {"frame": str(frame), "keyframe": "1", "outside": str(int(outside)), "occluded": "0"}
    with xml.inside(kind, {**state, **place, "z_order": "0"}):
        for name, value in about.items():
            xml.leaf("attribute", value, {"name": name})


def _corners(box: Box) -> dict[str, str]:
    return {name: f"{side:.2f}" for name, side in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
