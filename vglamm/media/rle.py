"""Masks as COCO run-length encoding: compact, exact, and readable by every tool that knows COCO.

An `Rle` is ``{"size": [H, W], "counts": str}``: the runs of 0 and 1 down the columns, compressed as in pycocotools (each run as
the difference from the run two before it, five bits a character). An empty mask is ``None`` here, never an RLE without ones.
Encoding, boxes and intersections come from pycocotools. It trusts its input, however, and decodes counts that are too short to
uninitialised memory, so every RLE is read by :func:`runs` first and decoded from what it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from vglamm.errors import MaskError
from vglamm.records import Rle

Box = tuple[float, float, float, float]
"""[x0, y0, x1, y1] in pixels; x1 and y1 are exclusive, so that width is x1 - x0."""

MAX_PIXELS = 1 << 30
"""Of a mask: a hostile size must not make us allocate gigabytes."""


def encode(masks: NDArray[Any]) -> list[Rle | None]:
    """Encode masks: bool or uint8[K, H, W] (anything but 0 is inside) to K RLEs, None where a mask is empty.

    Raises MaskError for another dtype or shape.
    """
    _check_array(masks, 3)
    if not len(masks):
        return []
    columns = np.asfortranarray(np.moveaxis(masks != 0, 0, -1).view(np.uint8))
    found = [bool(mask.any()) for mask in masks]
    return [
        {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")} if some else None
        for rle, some in zip(coco.encode(columns), found, strict=True)
    ]


def decode(rles: Sequence[Rle | None], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode K RLEs of masks of size (H, W) to bool[K, H, W]; None gives an empty mask. Raises MaskError for a broken RLE."""
    masks = np.zeros((len(rles), *size), dtype=bool)
    for mask, rle in zip(masks, rles, strict=True):
        if rle is not None:
            lengths = check(rle, size)
            mask[:] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[1], size[0]).T
    return masks


def boxes(rles: Sequence[Rle | None]) -> list[Box | None]:
    """The tight box of each mask, or None where it is empty."""
    found: list[Box | None] = []
    for rle in rles:
        if rle is None or not _ones(rle):
            found.append(None)
            continue
        x, y, width, height = (float(value) for value in coco.toBbox(_for_coco(rle)))
        found.append((x, y, x + width, y + height))
    return found


def boxes_of_masks(masks: NDArray[Any]) -> list[Box | None]:
    """The tight box of each mask of bool or uint8[K, H, W], or None where it is empty."""
    _check_array(masks, 3)
    found: list[Box | None] = []
    for mask in masks:
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        found.append((float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None)
    return found


def areas(rles: Sequence[Rle | None]) -> list[int]:
    """Pixels inside each mask; 0 for None."""
    return [0 if rle is None else _ones(rle) for rle in rles]


def iou(left: Sequence[Rle | None], right: Sequence[Rle | None]) -> NDArray[np.float64]:
    """Intersection over union of each pair, float64[K] in 0..1. Two empty masks agree: 1. One empty mask: 0.

    Raises MaskError for unequal numbers or sizes.
    """
    if len(left) != len(right):
        raise MaskError(f"{len(left)} and {len(right)} masks", "equal numbers", "compare masks of the same frames")
    return np.array([_iou_of_two(one, other) for one, other in zip(left, right, strict=True)], dtype=np.float64)


def check(rle: Rle, size: tuple[int, int]) -> NDArray[np.int64]:
    """The runs of `rle`; raises MaskError unless it is sound and of size (H, W)."""
    lengths = runs(rle)
    if tuple(rle["size"]) != tuple(size):
        raise MaskError(f"an RLE of size {list(rle['size'])}", f"{list(size)}", "use masks of the size of their video")
    return lengths


def runs(rle: Rle) -> NDArray[np.int64]:
    """The lengths of the runs, 0s first, int64[R]; they sum to H * W. Raises MaskError for a broken RLE.

    The compression is that of ``rleToString`` in the COCO API: little-endian groups of five bits from character 48 on, bit 32
    set on all but the last of a number, bit 16 of the last is the sign, and from the fourth number on a difference.
    """
    height, width, counts = _fields(rle)
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise _broken("counts with characters outside the code, or cut short")
    last = (codes & 32) == 0
    starts = np.flatnonzero(np.concatenate(([True], last[:-1])))
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    if place.max() > 6:
        raise _broken("a run of more than 35 bits")
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    negative = (codes[last] & 16) != 0
    numbers -= negative.astype(np.int64) << (5 * (place[last] + 1))
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    if (numbers < 0).any() or numbers.sum() != height * width:
        raise _broken(f"runs that cover {int(numbers.sum())} pixels of a {height}x{width} mask")
    return numbers


def _ones(rle: Rle) -> int:
    return int(runs(rle)[1::2].sum())


def _iou_of_two(one: Rle | None, other: Rle | None) -> float:
    area, other_area = areas([one, other])
    if one is None or other is None or not (area and other_area):
        return float(area == other_area)
    check(other, (one["size"][0], one["size"][1]))
    shared = int(coco.area(coco.merge([_for_coco(one), _for_coco(other)], intersect=True)))
    return shared / (area + other_area - shared)


def _fields(rle: Rle) -> tuple[int, int, bytes]:
    if not isinstance(rle, dict) or set(rle) != {"size", "counts"}:
        raise _broken(f"{type(rle).__name__} that is not a dict of size and counts")
    size, counts = rle["size"], rle["counts"]
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise _broken(f"size {size!r}"[:80])
    if size[0] * size[1] > MAX_PIXELS:
        raise _broken(f"size {size!r}"[:80])
    if isinstance(counts, str) and counts.isascii():
        counts = counts.encode("ascii")
    if not isinstance(counts, bytes):
        raise _broken(f"counts of type {type(counts).__name__} or not ASCII")
    return size[0], size[1], counts


def _for_coco(rle: Rle) -> dict[str, Any]:
    height, width, counts = _fields(rle)
    return {"size": [height, width], "counts": counts}


def _broken(got: str) -> MaskError:
    return MaskError(
        f"an RLE with {got}", '{"size": [H, W], "counts": compressed COCO runs}', "encode masks with vglamm.media.rle.encode"
    )


def _check_array(masks: NDArray[Any], axes: int) -> None:
    if masks.ndim != axes or masks.dtype not in (np.bool_, np.uint8) or 0 in masks.shape[-2:]:
        raise MaskError(
            f"masks as {masks.dtype}{list(masks.shape)}",
            f"bool or uint8 with {axes} axes, height and width at least 1",
            "threshold logits first (> 0) and stack masks on leading axes",
        )
