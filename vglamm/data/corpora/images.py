"""Referring segmentation of images: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO and ReasonSeg. One case for each text, one frame.

The root is the folder of image sets (``dataset``), not that of videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from vglamm.data.corpora.case import Case, Truth
from vglamm.data.corpora.layout import Found, Node, attempt, find_file, listed, load
from vglamm.data.corpora.masks import CocoMask, Shapes, Size
from vglamm.data.corpora.prompts import reason, refer_image
from vglamm.data.corpora.refs import load_refs
from vglamm.errors import CorpusError

NO_TARGET = -1
TARGET, IGNORED = 1, 255


def refcoco(root: Path, split: str, *, name: str) -> Iterator[Case]:
    """A set of the RefCOCO family: every sentence of every reference of the split. name: refcoco, refcoco+, refcocog, grefcoco.

    A reference may have several annotations (their union) or none (-1: an empty mask), as in gRefCOCO. ``meta``: exp_id
    (ref_id/number of the sentence), ref_id, ann_ids.
    """
    folder = root / "refer_seg" / name
    refs = load_refs(folder, "umd" if name == "refcocog" else "unc")
    index = load(folder / "instances.json")
    annotation = {entry["id"].whole(): i for i, entry in enumerate(index["annotations"].items())}
    images = {entry["id"].whole(): entry for entry in index["images"].items()}
    pictures = root / "refer_seg" / "images" / "mscoco" / "images" / "train2014"
    chosen = [ref for ref in refs.items() if ref["split"].text() == split]
    if not chosen:
        raise refs.wrong(f"no reference of split {split!r}", "a split of this set")
    for ref in chosen:
        number = ref["image_id"].whole()
        if number not in images:
            raise ref["image_id"].wrong(f"image {number}, which instances.json does not have", "the id of an image")
        image = images[number]
        ids = _annotation_ids(ref)
        reader, problem = attempt(partial(_coco_mask, index, annotation, ref, ids, image))
        found = find_file(pictures / image["file_name"].path(), is_image=True)
        found = replace(found, size=(image["height"].whole(), image["width"].whole()), problem=found.problem or problem)
        for i, sentence in enumerate(ref["sentences"].items()):
            text = sentence["sent"].text()
            exp_id = f"{ref['ref_id'].whole()}/{i}"
            truth = Truth((text.strip(),), frames=1, size=found.size, masks_of=reader)
            case = _case(name, split, str(number), exp_id, found, refer_image(text), truth)
            yield replace(case, meta={**case.meta, "ref_id": ref["ref_id"].whole(), "ann_ids": ids})


def _annotation_ids(ref: Node) -> tuple[int, ...]:
    told = ref["ann_id"]
    numbers = [told.value] if type(told.value) is int else [number.value for number in told.items()]
    if not all(type(number) is int for number in numbers):
        raise told.wrong(f"ann_id {told.value}", "a number, or a list of numbers")
    return tuple(number for number in numbers if number != NO_TARGET)


def _coco_mask(index: Node, annotation: dict[int, int], ref: Node, ids: tuple[int, ...], image: Node) -> CocoMask:
    for number in ids:
        if number not in annotation:
            raise ref["ann_id"].wrong(f"annotation {number}, which instances.json does not have", "the id of an annotation")
        owner = index["annotations"][annotation[number]]["image_id"]
        if owner.value != image["id"].value:
            raise owner.wrong(f"an annotation of image {owner.value} for one of image {image['id'].value}", "one of that image")
    size = image["height"].whole(), image["width"].whole()
    return CocoMask(index.file, tuple(("annotations", annotation[number], "segmentation") for number in ids), size)


def reason_seg(root: Path, split: str) -> Iterator[Case]:
    """ReasonSeg. A case for each text of an image; the published scores take the first alone (``meta["text"]`` 0).

    Pixels under a shape called "ignore" do not count; "flag" is no shape. ``meta``: exp_id, text, is_sentence.
    """
    folder = root / "reason_seg" / "ReasonSeg" / split
    for name in listed(folder, ".json"):
        entry = load(folder / name, encodings=("utf-8", "cp1252"))  # some files of the set were written on Windows
        stem = name.removesuffix(".json")
        found = find_file(folder / f"{stem}.jpg", is_image=True)
        size, problem = attempt(partial(_image_size, folder / f"{stem}.jpg"))
        found = replace(found, size=size, problem=found.problem or problem)
        sentence = bool(entry["is_sentence"].value)
        texts = entry["text"].items()
        if not texts:
            raise entry["text"].wrong("no text", "the texts of the image")
        target, problem = attempt(partial(_shapes, entry, size)) if size else (None, None)
        for i, node in enumerate(texts):
            text = node.text().strip()
            truth = Truth((text,), frames=1, size=size, masks_of=target)
            truth = replace(truth, ignored_of=replace(target, value=IGNORED) if target else None)
            question = reason(text) if sentence else refer_image(text)
            case = _case("reason_seg", split, stem, f"{stem}/{i}", found, question, truth)
            yield replace(case, meta={**case.meta, "text": i, "is_sentence": sentence}, problem=case.problem or problem)


def _shapes(entry: Node, size: Size) -> Shapes:
    drawn = []
    for shape in entry["shapes"].items():
        label = shape["label"].text()
        if "flag" in label.lower():
            continue
        points = tuple((int(point[0].number()), int(point[1].number())) for point in shape["points"].items())
        if len(points) < 3:
            raise shape["points"].wrong(f"{len(points)} points", "3 or more")
        drawn.append((IGNORED if "ignore" in label.lower() else TARGET, points))
    if not drawn:
        raise entry["shapes"].wrong("no shape of a target", "at least one polygon")
    return Shapes(tuple(drawn), TARGET, size)


def _image_size(path: Path) -> Size:
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:
        raise CorpusError(f"{path}, which is not an image ({error})", "a JPEG", "download this part of the set") from error


def _case(task: str, split: str, image: str, exp_id: str, found: Found, question: str, truth: Truth) -> Case:
    return Case(
        id=f"{task}/{split}/{exp_id}",
        video=f"{task}/{image}",
        media=found.media,
        question=question,
        truth=truth,
        meta={"video": image, "exp_id": exp_id},
        problem=found.problem,
    )
