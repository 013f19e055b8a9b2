"""Writes tiny sets in the layouts of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vglamm.media import rle

H, W = 6, 8


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def frames(folder: Path, names: list[str], size: tuple[int, int] = (H, W), suffix: str = ".jpg") -> None:
    """Grey frames; the brightness tells their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", size[::-1], (10 * i,) * 3).save(folder / f"{name}{suffix}")


def box_mask(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def png(path: Path, pixels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.astype(np.uint8))
    if palette:
        image = image.convert("L")
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    image.save(path)


def packed(mask: np.ndarray) -> dict[str, Any]:
    """Compressed COCO RLE."""
    (found,) = rle.encode(mask[None])
    assert found is not None
    return found


def unpacked(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed COCO RLE."""
    flat, runs, now = mask.T.reshape(-1), [], False
    count = 0
    for pixel in flat:
        if bool(pixel) != now:
            runs.append(count)
            count, now = 0, bool(pixel)
        count += 1
    return {"size": list(mask.shape), "counts": [*runs, count]}


LEFT, RIGHT, MIDDLE = box_mask(0, 0, 3, 4), box_mask(5, 2, 8, 6), box_mask(2, 1, 6, 3)
NAMES = ["00000", "00005", "00010"]


def mevis(root: Path, split: str = "valid_u") -> Path:
    """Video "ab": objects 1 (left), 2 (right, hidden on frame 1) and 3 (overlaps 1). Expressions of 1; 2 and 3; 1 and 3."""
    folder = root / "mevis" / split
    frames(folder / "JPEGImages" / "ab", NAMES)
    masked = split != "valid"
    expressions: dict[str, Any] = {
        "0": {"exp": "The  Dog on the left", "obj_id": [1], "anno_id": [11]},
        "1": {"exp": "two cats moving", "obj_id": [3, 2], "anno_id": [13, 12]},
        "2": {"exp": "animals that overlap", "obj_id": [1, 3], "anno_id": [11, 13]},
    }
    if not masked:
        expressions = {key: {"exp": entry["exp"]} for key, entry in expressions.items()}
    video = {"frames": NAMES[::-1], "expressions": expressions, "vid_id": 0}
    put(folder / "meta_expressions.json", {"videos": {"ab": video}})
    if masked:
        lists = {
            "11": [packed(LEFT)] * 3,
            "12": [packed(RIGHT), None, packed(RIGHT)],
            "13": [packed(MIDDLE)] * 3,
        }
        put(folder / "mask_dict.json", lists)
    return folder


def labels(folder: Path, names: list[str]) -> None:
    """Palette PNGs: object 1 left, 2 right."""
    for name in names:
        png(folder / f"{name}.png", np.where(LEFT, 1, np.where(RIGHT, 2, 0)), palette=True)


def edit(path: Path, change: Any) -> None:
    """Apply ``change`` to the JSON at ``path``."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
