"""A data set that FiftyOne imports: its ``FiftyOneVideoLabelsDataset``, videos with labels of every frame.

- ``manifest.json``: which labels belong to which video.
- ``labels/<row>.json``: question and answer of the video; on each grounding frame an object for each visible track, with its
  phrase as label, its number as index, its box and its mask.
- ``data/<row>.mp4``: the source video, with ``--with-videos``; without, the manifest names it where it is.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import ConfigError
from vglamm.export.place import Lines, fresh, safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.export.sources import Sources
from vglamm.media import rle
from vglamm.show.legend import names

FIELD = "objects"
"""The field of a frame that its objects come to be in."""


def write_fiftyone(run: Run, folder: Path, settings: Settings) -> None:
    """Write one labels file for each answered row and the manifest. Raises VideoNotFound for a row whose video is gone,
    ConfigError for one about an image or a folder of frames, which this format has no place for."""
    sources = Sources(settings.videos)
    (folder / "labels").mkdir()
    with (folder / "manifest.json").open("w", encoding="utf-8") as file:
        file.write('{"type":"eta.core.datasets.LabeledVideoDataset","description":"","index":[')
        index = Lines(file)
        for row, answer in answered(run):
            name, video = safe_name(row.id), sources.find(row)
            if answer.is_image or video.is_dir():
                raise ConfigError(f"{video} of {row.id}", "a video file, all that this format holds", "annotate videos apart")
            with fresh(folder / "labels" / f"{name}.json").open("w", encoding="utf-8") as labels:
                _write_labels(labels, row, answer)
            if settings.with_videos:
                copy = folder / "data" / (name + video.suffix.lower())
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(video, copy)
            index.add({"data": f"data/{copy.name}" if settings.with_videos else str(video), "labels": f"labels/{name}.json"})
        file.write("]}\n")


def _write_labels(file: IO[str], row: Annotation, answer: Answer) -> None:
    attributes = [_attribute(name, value) for name, value in (("question", row.question), ("answer", answer.text)) if value]
    file.write(f'{{"attrs":{json.dumps({"attrs": attributes}, ensure_ascii=False)},"frames":{{')
    frames = Lines(file)
    for position, index in enumerate(answer.sampling.grounding_indices):
        number = index + 1  # FiftyOne counts frames from 1
        objects = [found for track in range(len(answer.tracks)) if (found := _object(answer, track, position)) is not None]
        frames.add({"frame_number": number, "objects": {"objects": objects}}, key=str(number))
    file.write("}}\n")


def _object(answer: Answer, number: int, position: int) -> dict[str, Any] | None:
    track, (height, width) = answer.tracks[number], answer.sampling.size
    code = track.rle[position]
    [box] = rle.boxes([code])
    if box is None:
        return None
    left, top, right, bottom = (int(side) for side in box)
    inside = rle.decode([code], (height, width))[0, top:bottom, left:right]
    return {
        "type": "eta.core.objects.DetectedObject",
        "label": names(answer)[number],
        "name": FIELD,
        "index": number + 1,
        "confidence": track.scores[position],
        "bounding_box": {
            "top_left": {"x": left / width, "y": top / height},
            "bottom_right": {"x": right / width, "y": bottom / height},
        },
        "mask": packed(inside),
    }


def packed(mask: NDArray[np.bool_]) -> str:
    """A mask as FiftyOne keeps arrays in JSON: bool[h, w] -> .npy, zlib, base64."""
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def _attribute(name: str, value: str) -> dict[str, str]:
    return {"type": "eta.core.data.CategoricalAttribute", "name": name, "value": value}
