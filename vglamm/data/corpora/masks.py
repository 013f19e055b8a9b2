"""Readers of masks as the sets keep them. Each is a small value that can be pickled and reads files only when it is called.

Called with frames (positions in the media), each gives bool[G, len(frames), H, W]. The objects of one phrase are joined by *or*:
where two overlap, the mask is still just inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from vglamm.data.corpora.layout import Node, load
from vglamm.errors import CorpusError, MaskError
from vglamm.media import rle

Bool = NDArray[np.bool_]
Size = tuple[int, int]


@dataclass(frozen=True)
class LabelMaps:
    """One PNG a frame whose pixels are object ids. objects: for each of G, the ids that belong to it."""

    folder: str
    names: tuple[str, ...]
    objects: tuple[tuple[int, ...], ...]
    size: Size

    def __call__(self, frames: Sequence[int]) -> Bool:
        out = np.zeros((len(self.objects), len(frames), *self.size), dtype=bool)
        for place, frame in enumerate(frames):
            labels = read_png(Path(self.folder, self.names[frame]), self.size, ("P", "L"))
            for mask, ids in zip(out[:, place], self.objects, strict=True):
                mask[:] = np.isin(labels, ids)
        return out


@dataclass(frozen=True)
class ObjectMaps:
    """One black and white PNG for each object and frame. objects: for each of G, the folders of its PNGs. names: of frames; a name
    of None is a frame without masks."""

    objects: tuple[tuple[str, ...], ...]
    names: tuple[str | None, ...]
    size: Size

    def __call__(self, frames: Sequence[int]) -> Bool:
        out = np.zeros((len(self.objects), len(frames), *self.size), dtype=bool)
        for mask, folders in zip(out, self.objects, strict=True):
            for place, frame in enumerate(frames):
                name = self.names[frame]
                if name is None:
                    continue
                for folder in folders:
                    mask[place] |= read_png(Path(folder, name), self.size, ("L", "1", "P", "RGB"), grey=True) > 127
        return out


@dataclass(frozen=True)
class RleLists:
    """A list of RLEs or nulls through time for each object, in a JSON file. objects: for each of G, the keys that lead to its
    lists. frames: length that every list must have."""

    file: str
    objects: tuple[tuple[tuple[str | int, ...], ...], ...]
    frames: int
    size: Size

    def __call__(self, frames: Sequence[int]) -> Bool:
        out = np.zeros((len(self.objects), len(frames), *self.size), dtype=bool)
        for mask, paths in zip(out, self.objects, strict=True):
            for path in paths:
                through_time = self.find(path)
                for place, frame in enumerate(frames):
                    mask[place] |= decode(through_time[frame], self.size)
        return out

    def find(self, path: Sequence[str | int]) -> Node:
        """The list at ``path``. CorpusError if it is missing or of another length."""
        node = load(self.file)
        for name in path:
            node = node[name]
        if (count := len(node.items())) != self.frames:
            raise node.wrong(f"masks of {count} frames", f"{self.frames}, as the video has")
        return node

    def checked(self) -> RleLists:
        """Itself, if every list is there and of the right length."""
        for paths in self.objects:
            for path in paths:
                self.find(path)
        return self


@dataclass(frozen=True)
class CocoMask:
    """The mask of an image: COCO segmentations (polygons or RLE) in a JSON file. paths: keys that lead to each; none, no mask."""

    file: str
    paths: tuple[tuple[str | int, ...], ...]
    size: Size

    def __call__(self, frames: Sequence[int]) -> Bool:
        out = np.zeros((1, len(frames), *self.size), dtype=bool)
        for path in self.paths:
            node = load(self.file)
            for name in path:
                node = node[name]
            out |= _polygons(node, self.size) if isinstance(node.value, list) else decode(node, self.size)
        return out


@dataclass(frozen=True)
class Shapes:
    """Polygons of labelme, drawn from the largest to the smallest, so that a small one stays visible on a large one.

    shapes: (value, points) of each; value: pixels of which value are inside.
    """

    shapes: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    value: int
    size: Size

    def __call__(self, frames: Sequence[int]) -> Bool:
        canvas = Image.new("L", self.size[::-1])
        draw = ImageDraw.Draw(canvas)
        areas = [_area(points, self.size) for _, points in self.shapes]
        for i in sorted(range(len(areas)), key=lambda i: -areas[i]):
            value, points = self.shapes[i]
            draw.polygon(list(points), fill=value, outline=value)
        return np.repeat((np.asarray(canvas) == self.value)[None, None], len(frames), axis=1)


def read_png(path: Path, size: Size, modes: Sequence[str], *, grey: bool = False) -> NDArray[np.uint8]:
    """uint8[H, W], the pixels of a mask file as they are stored, or as ``grey``. CorpusError if it is missing, damaged, of a mode
    (Pillow's name) that is not among ``modes``, or not of ``size``."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode, shown = image.mode, (image.height, image.width)
            if mode not in modes or shown != size:
                raise CorpusError(
                    f"{path} of mode {mode} and size {list(shown)} (H, W)",
                    f"mode {' or '.join(modes)} and size {list(size)}, as the frames",
                    "check the masks of this video",
                )
            return np.array(image.convert("L") if grey else image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise CorpusError(f"{path}, which cannot be read ({error})", "a PNG of the set", "download the masks again") from error


def decode(node: Node, size: Size) -> Bool:
    """bool[H, W] of a COCO RLE, compressed or not; of null, nothing. CorpusError if it is broken or of another size."""
    value = node.value
    if not value:
        return np.zeros(size, dtype=bool)
    if isinstance(value, dict) and isinstance(value.get("counts"), list):
        return _uncompressed(node, value["counts"], size)
    try:
        mask: Bool = rle.decode([value], size)[0]
        return mask
    except MaskError as error:
        raise node.wrong(error.got, error.expected) from error


def _uncompressed(node: Node, counts: list[Any], size: Size) -> Bool:
    if node["size"].value != list(size):
        raise node.wrong(f"an RLE of size {node['size'].value}", f"{list(size)}")
    if any(type(run) is not int or run < 0 for run in counts) or sum(counts) != size[0] * size[1]:
        raise node.wrong("an RLE whose runs do not cover its size", f"runs that cover {size[0]}x{size[1]} pixels")
    inside: Bool = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size[::-1]).T


def _polygons(node: Node, size: Size) -> Bool:
    """Rasterised as COCO does; the parts of one object are joined."""
    parts = [[number.number() for number in part.items()] for part in node.items()]
    if any(len(part) < 6 or len(part) % 2 for part in parts):
        raise node.wrong("a polygon of fewer than 3 points, or of half a point", "x, y of 3 points or more")
    if not parts:
        return np.zeros(size, dtype=bool)
    joined = coco.merge(coco.frPyObjects(parts, *size))
    return decode(Node(node.file, node.key, {"size": list(size), "counts": joined["counts"].decode("ascii")}), size)


def _area(points: tuple[tuple[int, int], ...], size: Size) -> int:
    """Pixels of the polygon inside the image."""
    alone = Image.new("1", size[::-1])
    ImageDraw.Draw(alone).polygon(list(points), fill=1, outline=1)
    return int(np.count_nonzero(np.asarray(alone)))
