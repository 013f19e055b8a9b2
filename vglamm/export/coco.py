"""COCO for videos, in its two dialects: YouTube-VIS (an annotation is an object through time) and COCO-VID (an object on a frame).

Both are one JSON file with one entry of ``videos`` for each row, that is for each question about a video, since rows differ in
their frames. Only grounding frames are listed: a mask exists for no other. There is one category, ``object``; what an object is
called stands in ``phrase`` of its annotations. Phrases are free text, so as categories they would be as many as objects, and
their ids would differ from run to run.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.export.place import Lines, frame_name, safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.media import rle
from vglamm.media.rle import Box
from vglamm.show.legend import names

CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}


def write_ytvis(run: Run, path: Path, settings: Settings) -> None:
    """Write YouTube-VIS JSON: ``videos`` (id, width, height, length, file_names, ...) and ``annotations`` (id, video_id,
    category_id, phrase, score, and one entry for each frame in ``segmentations`` (compressed RLE or null), ``bboxes``
    ([x, y, w, h] or null) and ``areas`` (pixels or null))."""
    with _json(path, "videos", "annotations") as (videos, annotations):
        for number, (row, answer) in enumerate(answered(run), 1):
            videos.add(_video(row, answer, number))
            for track in range(len(answer.tracks)):
                annotations.add({"id": annotations.count + 1, "video_id": number, **_tube(answer, track)})


def write_coco_vid(run: Run, path: Path, settings: Settings) -> None:
    """Write COCO-VID JSON: ``videos``, ``images`` (a frame: id, video_id, frame_id from 0, file_name, ...) and ``annotations``
    (an object where it is visible on a frame: image_id, instance_id, phrase, segmentation, bbox, area, score)."""
    instances = itertools.count(1)
    with _json(path, "videos", "images", "annotations") as (videos, images, annotations):
        for number, (row, answer) in enumerate(answered(run), 1):
            video, first = _video(row, answer, number), images.count + 1
            videos.add(video)
            shared = {"video_id": number, "width": video["width"], "height": video["height"]}
            for position, file_name in enumerate(video["file_names"]):
                of_frame = {"file_name": file_name, "frame_id": position}
                source = {"frame_number": video["frame_numbers"][position], "time_s": video["times_s"][position]}
                images.add({"id": first + position, **shared, **of_frame, **source})
            for track in range(len(answer.tracks)):
                instance, tube = next(instances), _tube(answer, track)
                for position, mask in enumerate(tube["segmentations"]):
                    if mask is not None:
                        annotations.add(
                            {
                                "id": annotations.count + 1, "image_id": first + position, "video_id": number,
                                "instance_id": instance, "category_id": 1, "phrase": tube["phrase"], "segmentation": mask,
                                "bbox": tube["bboxes"][position], "area": tube["areas"][position], "iscrowd": 0,
                                "score": answer.tracks[track].scores[position],
                            }
                        )  # fmt: skip


def _video(row: Annotation, answer: Answer, number: int) -> dict[str, Any]:
    sampling = answer.sampling
    return {
        "id": number,
        "name": row.id,
        "video": row.video,
        "uri": row.uri,
        "question": row.question,
        "text": answer.text,
        "height": sampling.size[0],
        "width": sampling.size[1],
        "length": len(sampling.grounding_indices),
        "file_names": [f"{safe_name(row.video)}/{frame_name(index)}.jpg" for index in sampling.grounding_indices],
        "frame_numbers": list(sampling.grounding_indices),
        "times_s": list(sampling.grounding_times),
    }


def _tube(answer: Answer, number: int) -> dict[str, Any]:
    track, (height, width) = answer.tracks[number], answer.sampling.size
    return {
        "category_id": 1,
        "phrase": names(answer)[number],
        "track": number,
        "iscrowd": 0,
        "score": track.score,
        "height": height,
        "width": width,
        "length": len(track.rle),
        "segmentations": list(track.rle),
        "bboxes": [_xywh(box) for box in rle.boxes(track.rle)],
        "areas": [area or None for area in rle.areas(track.rle)],
    }


def _xywh(box: Box | None) -> list[float] | None:
    return None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]]


@contextmanager
def _json(path: Path, *lists: str) -> Iterator[list[Lines]]:
    """A JSON object of several lists that grow at the same time: all but the first wait in temporary files."""
    with ExitStack() as stack, path.open("w", encoding="utf-8") as out:
        info = {"description": "Made by vglamm export", "version": "1"}
        out.write(f'{{"info":{json.dumps(info)},"licenses":[],"categories":{json.dumps([CATEGORY])},"{lists[0]}":[')
        waiting: list[IO[str]] = [
            stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent)) for _ in lists[1:]
        ]
        yield [Lines(file) for file in (out, *waiting)]
        for name, file in zip(lists[1:], waiting, strict=True):
            out.write(f'],\n"{name}":[')
            file.seek(0)
            for line in file:
                out.write(line)
        out.write("]}\n")
