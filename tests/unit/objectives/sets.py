"""Small sets in their real layouts to learn from: two videos of MeViS, three with captions, two images with a region to ignore."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.unit.data.corpora.disk import LEFT, MIDDLE, NAMES, RIGHT, H, W, frames, labels, packed, put


def write(root: Path) -> Path:
    mevis(root)
    captions(root)
    reason(root)
    return root


def mevis(root: Path) -> None:
    folder = root / "mevis/train"
    for video in ("ab", "cd"):
        frames(folder / "JPEGImages" / video, NAMES)
    said = {
        "0": {"exp": "The  Dog on the left", "obj_id": [1], "anno_id": [11]},
        "1": {"exp": "two cats moving", "obj_id": [3, 2], "anno_id": [13, 12]},
    }
    videos = {video: {"frames": NAMES, "expressions": said, "vid_id": i} for i, video in enumerate(("ab", "cd"))}
    put(folder / "meta_expressions.json", {"videos": videos})
    late = [None, None, packed(RIGHT)]
    put(folder / "mask_dict.json", {"11": [packed(LEFT)] * 3, "12": late, "13": [None, None, packed(MIDDLE)]})


def captions(root: Path) -> None:
    folder = root / "refer_youtube_vos/train"
    for video in ("v1", "v2", "v3"):
        frames(folder / "JPEGImages" / video, NAMES, (W, H))  # taller than wide, other than MeViS's
        labels_of_turned(folder / "Annotations" / video)
        put(root / f"ytvos_gcg/train/{video}.json", {"caption": "[A dog](1) sees [all of  them](1, 2)."})


def labels_of_turned(folder: Path) -> None:
    labels(folder, NAMES)
    for name in NAMES:
        with Image.open(folder / f"{name}.png") as image:
            turned = image.transpose(Image.Transpose.TRANSPOSE)
        turned.save(folder / f"{name}.png")


def reason(root: Path) -> None:
    for name in ("one", "two"):
        path = root / f"images/reason_seg/ReasonSeg/train/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
        shapes = [
            {"label": "target", "points": [[4, 4], [20, 4], [20, 30], [4, 30]]},
            {"label": "ignore", "points": [[40, 4], [50, 4], [50, 30], [40, 30]]},
        ]
        put(path.with_suffix(".json"), {"text": ["What would one sit on?"], "is_sentence": True, "shapes": shapes})
