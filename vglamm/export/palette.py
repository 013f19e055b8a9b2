"""Palette PNGs as of DAVIS, MOSE and YouTube-VOS: one picture for each frame, in which a pixel is the number of its object.

    Annotations/<row>/<frame>.png    pixel 0: nothing; 1: the first track of the answer, and so on
    meta.json                        what each number is called and where it is seen, as in YouTube-VOS

A pixel has room for one object. Where masks overlap it goes to the track with the highest ``score``, which holds for the whole
video, so that a pixel does not flicker between two objects; of equal scores to the earlier track.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vglamm.annotation import Annotation
from vglamm.answer import Answer
from vglamm.errors import MaskError
from vglamm.export.place import Lines, frame_name, fresh, safe_name
from vglamm.export.rows import Run, answered
from vglamm.export.settings import Settings
from vglamm.media import rle
from vglamm.show.colours import colour
from vglamm.show.legend import names

MOST = 255
"""Objects of a picture: pixels are 8-bit and 0 is the background."""

_PALETTE = [0, 0, 0, *(channel for track in range(MOST) for channel in colour(track))]


def write_palette(run: Run, folder: Path, settings: Settings) -> None:
    """Write the pictures of every answered row, one for each grounding frame. Raises MaskError for an answer with more than
    :data:`MOST` tracks."""
    with (folder / "meta.json").open("w", encoding="utf-8") as file:
        file.write('{"videos":{')
        meta = Lines(file)
        for row, answer in answered(run):
            pictures = fresh(folder / "Annotations" / safe_name(row.id))
            pictures.mkdir(parents=True)
            for position, index in enumerate(answer.sampling.grounding_indices):
                image = Image.fromarray(numbered(answer, position))
                image.putpalette(_PALETTE)
                image.save(pictures / f"{frame_name(index)}.png")
            meta.add(_meta(row, answer), key=pictures.name)
        file.write("}}\n")


def numbered(answer: Answer, position: int) -> NDArray[np.uint8]:
    """uint8[H, W], for each pixel of the grounding frame at ``position`` the number of its object, from 1, or 0."""
    tracks = answer.tracks
    if len(tracks) > MOST:
        raise MaskError(f"{len(tracks)} tracks", f"at most {MOST} in a palette picture", "use ytvis, which has no such limit")
    canvas = np.zeros(answer.sampling.size, np.uint8)
    masks = rle.decode([track.rle[position] for track in tracks], answer.sampling.size)
    for number in sorted(range(len(tracks)), key=lambda number: (tracks[number].score, -number)):
        canvas[masks[number]] = number + 1
    return canvas


def _meta(row: Annotation, answer: Answer) -> dict[str, object]:
    indices = answer.sampling.grounding_indices
    objects = {
        str(number + 1): {
            "category": name,
            "score": track.score,
            "frames": [frame_name(index) for index, mask in zip(indices, track.rle, strict=True) if mask is not None],
        }
        for number, (track, name) in enumerate(zip(answer.tracks, names(answer), strict=True))
    }
    return {"id": row.id, "video": row.video, "question": row.question, "objects": objects}
