"""Grounded conversation generation (GCG): describe the video, with a mask for each phrase. All frames, the first GCG prompt.

A caption comes as text with its objects marked in it, in three ways: words by number (video_gcg), ``[a man](1)`` (ytvos_gcg,
mevis_gcg, vidstg_gcg, hcstvg_gcg), ``<p>a man</p>[SEG:1]`` (anet_gcg). All are rewritten as an answer of the model would stand,
``<p> a man </p> [SEG]``, and read by the same parser. Every object of a phrase counts, whatever its number and however many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vglamm.data.corpora.case import Case, Masks, Media, Truth
from vglamm.data.corpora.layout import Found, Node, attempt, find_folder, find_frames, listed, load, need_files
from vglamm.data.corpora.masks import LabelMaps, ObjectMaps, RleLists, Size
from vglamm.data.corpora.prompts import DESCRIBE
from vglamm.data.corpora.referring import FPS, frames_of
from vglamm.language.phrases import parse_reply

SAMPLED_FPS = 1.0
"""Frames per second of sets whose folders hold a few sampled frames and do not say when; of no effect on masks or scores."""

_MARKED = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_NUMBERED = re.compile(r"\[SEG:(\d+)\]")
_TAGGED = re.compile(r"<p>\s*(.*?)\s*</p>")

Ids = tuple[tuple[int, ...], ...]
"""For each phrase the objects that it names."""


@dataclass(frozen=True)
class Caption:
    """text: without marks. marked: with them, as an answer. phrases: G texts. ids: the objects of each."""

    text: str
    marked: str
    phrases: tuple[str, ...]
    ids: Ids


def video_gcg(root: Path, split: str) -> Iterator[Case]:
    """BURST and YouTube-VIS 2019. A phrase is the one word that the index points at, without its punctuation.

    ``meta``: also source (the set that the video is from).
    """
    index = load(root / "video_gcg" / "instruction_data" / f"{split}.json")
    place = {annotation["id"].whole(): i for i, annotation in enumerate(index["annotations"].items())}
    for video in index["videos"].items():
        source = (video["metadata"]["dataset"] if video.get("metadata") else video["dataset_split"]).text()
        burst = Path("burst", "frames", "train" if split == "train" else "val")
        folder = Path("ytvis", "vos", "train", "JPEGImages") if source == "yt19" else burst
        files = [Path(name.path()) for name in video["file_names"].items()]
        if len({file.parent for file in files}) != 1:
            raise video["file_names"].wrong("frames of several folders, or none", "the frames of one video")
        found = find_frames(root / folder / files[0].parent, [file.name for file in files], FPS)
        name = str(video["id"].whole())
        masks = partial(_word_masks, index, place, video, found)
        yield _case("video_gcg", split, name, found, partial(_words, video), masks, source=source)


def _words(video: Node) -> Caption:
    """The caption of a video whose objects are marked by the numbers of its words; equal numbers are one phrase."""
    dense = video["dense_cap"]
    text = dense["caption"]
    words = text.text().split(" ")
    positions, masks = dense["token_pos"].items(), dense["mask_id"].items()
    if len(positions) != len(masks):
        raise dense.wrong(f"{len(positions)} token_pos and {len(masks)} mask_id", "one mask_id for each token_pos")
    objects: dict[int, list[int]] = {}
    for position, mask in zip(positions, masks, strict=True):
        if not 0 <= position.whole() < len(words):
            raise position.wrong(f"word {position.value} of a caption of {len(words)} words", "the number of a word")
        objects.setdefault(position.whole(), []).append(mask.whole())
    marked = " ".join(f"<p> {word} </p> [SEG]" if i in objects else word for i, word in enumerate(words))
    caption = _caption(marked, text, tuple(tuple(objects[i]) for i in sorted(objects)))
    return replace(caption, phrases=tuple(phrase.strip('.,;:!?"()') or phrase for phrase in caption.phrases))


def _word_masks(index: Node, place: dict[int, int], video: Node, found: Found, ids: Ids) -> Masks:
    count, size = len(found.media.names), (video["height"].whole(), video["width"].whole())
    if video["length"].whole() != count:
        raise video["length"].wrong(f"{video['length'].value} frames", f"{count}, as file_names lists")
    if size != found.size:
        raise video.wrong(f"height and width {list(size)}", f"{list(found.size or ())}, as the first frame has")
    for number in {number for group in ids for number in group}:
        if number not in place:
            raise video["dense_cap"]["mask_id"].wrong(f"mask id {number}", "the id of an annotation")
        owner = index["annotations"][place[number]]["video_id"]
        if owner.value != video["id"].value:
            raise owner.wrong(f"an annotation of video {owner.value} in the caption of {video['id'].value}", "one of that video")
    paths = tuple(tuple(("annotations", place[number], "segmentations") for number in group) for group in ids)
    return RleLists(index.file, paths, count, size).checked()


def ytvos_gcg(root: Path, split: str) -> Iterator[Case]:
    """Ref-YouTube-VOS with captions; frames and masks are those of ``refer_youtube_vos``."""
    folder = root / "refer_youtube_vos" / split
    for vid, entry in _entries(root / "ytvos_gcg" / split):
        found = find_folder(folder / "JPEGImages" / vid, FPS)
        masks = partial(_label_masks, folder / "Annotations" / vid, found)
        yield _case("ytvos_gcg", split, vid, found, partial(_marked, entry), masks)


def _label_masks(folder: Path, found: Found, ids: Ids) -> Masks:
    names = _pngs(found)
    need_files(folder, names)
    return LabelMaps(str(folder), names, ids, _size(found))


def mevis_gcg(root: Path, split: str) -> Iterator[Case]:
    """MeViS with captions; frames and masks are those of ``mevis``. A phrase may name any objects of its video, in any order."""
    folder = root / "mevis" / split
    videos = load(folder / "meta_expressions.json")["videos"]
    for vid, entry in _entries(root / "mevis_gcg" / split):
        listed_frames, problem = attempt(partial(_mevis_frames, folder, videos, vid))
        found = listed_frames or Found(Media(str(folder / "JPEGImages" / vid)), None, problem)
        masks = partial(_mevis_masks, folder / "mask_dict.json", videos, vid, found)
        yield _case("mevis_gcg", split, vid, found, partial(_marked, entry), masks)


def _mevis_frames(folder: Path, videos: Node, vid: str) -> Found:
    return frames_of(folder / "JPEGImages", vid, videos[vid], FPS)[1]


def _mevis_masks(file: Path, videos: Node, vid: str, found: Found, ids: Ids) -> Masks:
    """Each object by the annotation that any expression of the video gives it: a phrase need not equal one expression's list."""
    annotation: dict[int, str] = {}
    for _, expression in videos[vid]["expressions"].entries():
        numbers, keys = expression["obj_id"].items(), expression["anno_id"].items()
        if len(numbers) != len(keys):
            raise expression.wrong(f"{len(numbers)} obj_id and {len(keys)} anno_id", "one anno_id for each obj_id")
        for number, key in zip(numbers, keys, strict=True):
            if annotation.setdefault(number.whole(), str(key.value)) != str(key.value):
                raise number.wrong(f"object {number.value} with two anno_id", "one anno_id for each object of a video")
    if unknown := {one for group in ids for one in group} - annotation.keys():
        raise videos[vid].wrong(f"no expression of object {min(unknown)}, which the caption names", "an obj_id of this video")
    paths = tuple(tuple((annotation[number],) for number in group) for group in ids)
    return RleLists(str(file), paths, len(found.media.names), _size(found)).checked()


def vidstg_gcg(root: Path, split: str) -> Iterator[Case]:
    """VidSTG with captions and masks. Every object of a phrase counts, not its first alone."""
    return _folders("vidstg_gcg", root, split)


def hcstvg_gcg(root: Path, split: str) -> Iterator[Case]:
    """HC-STVG with captions and masks, as :func:`vidstg_gcg`."""
    return _folders("hcstvg_gcg", root, split)


def _folders(task: str, root: Path, split: str) -> Iterator[Case]:
    for vid, entry in _entries(root / task / f"{split}_captions"):
        video = root / task / split / vid
        found = find_folder(video / "frames", SAMPLED_FPS)
        yield _case(task, split, vid, found, partial(_marked, entry), partial(_object_masks, video / "masks", found))


def _object_masks(folder: Path, found: Found, ids: Ids) -> Masks:
    names = _pngs(found)
    objects = tuple(tuple(str(folder / f"{number:03d}") for number in group) for group in ids)
    for one in sorted({one for group in objects for one in group}):
        need_files(Path(one), names)
    return ObjectMaps(objects, names, _size(found))


def anet_gcg(root: Path, split: str) -> Iterator[Case]:
    """ActivityNet-Entities with captions: segments of ten frames, masks on one of them (``truth.shown``). It has no splits.

    ``meta``: also segment.
    """
    folder = root / "activitynet_entities_gcg"
    for name, entry in _entries(folder / "anns"):
        vid, separator, segment = name.rpartition("____")
        if not separator:
            raise entry.wrong(f"a file called {name}.json", "<video>____<segment>.json")
        found = find_folder(folder / "video_frames" / vid / segment, SAMPLED_FPS)
        masks = partial(_segment_masks, folder / "masks" / name, entry, found)
        case = _case("anet_gcg", split, name, found, partial(_numbered, entry), masks, video=vid, segment=segment)
        reader = case.truth.masks_of
        if isinstance(reader, ObjectMaps):
            shown = tuple(i for i, file in enumerate(reader.names) if file is not None)
            case = replace(case, truth=replace(case.truth, shown=shown))
        yield case


def _segment_masks(folder: Path, entry: Node, found: Found, ids: Ids) -> Masks:
    stems = [Path(name).stem for name in found.media.names]
    shown: set[int] = set()
    for (number,) in ids:
        frame = entry["seg_token_to_obj"][f"[SEG:{number}]"]["frame_id"]
        if f"{frame.whole():02d}" not in stems:
            raise frame.wrong(f"frame {frame.value}", f"one of the {len(stems)} frames of this segment")
        shown.add(stems.index(f"{frame.whole():02d}"))
        need_files(folder / f"{number:02d}", ["mask.png"])
    if len(shown) > 1:
        raise entry["seg_token_to_obj"].wrong(f"boxes on frames {sorted(shown)}", "all boxes of a segment on one frame")
    names = tuple("mask.png" if i in shown else None for i in range(len(stems)))
    return ObjectMaps(tuple((str(folder / f"{number:02d}"),) for (number,) in ids), names, _size(found))


def _entries(folder: Path) -> Iterator[tuple[str, Node]]:
    """(name, content) of each JSON file of a folder, by name: the order of a directory differs from disk to disk."""
    return ((name.removesuffix(".json"), load(folder / name)) for name in listed(folder, ".json"))


def _marked(entry: Node) -> Caption:
    text = entry["caption"]
    ids = []
    for _, numbers in _MARKED.findall(text.text()):
        if not all(number.strip().isdecimal() for number in numbers.split(",")):
            raise text.wrong(f"objects ({numbers})", "numbers, as in [two dogs](2, 3)")
        ids.append(tuple(int(number) for number in numbers.split(",")))
    return _caption(_MARKED.sub(r"<p> \1 </p> [SEG]", text.text()), text, tuple(ids))


def _numbered(entry: Node) -> Caption:
    text = entry["refined_caption"]
    ids = tuple((int(number),) for number in _NUMBERED.findall(text.text()))
    return _caption(_NUMBERED.sub(" [SEG]", text.text()), text, ids)


def _caption(marked: str, text: Node, ids: Ids) -> Caption:
    parsed = parse_reply(marked)
    phrases = tuple(phrase.text for phrase in parsed.phrases if phrase.text)
    if len(phrases) != len(ids):
        raise text.wrong(f"{len(phrases)} phrases for {len(ids)} marks of objects", "a phrase before each mark")
    return Caption(parsed.text, _TAGGED.sub(r"<p> \1 </p>", marked), phrases, ids)


def _case(
    task: str,
    split: str,
    name: str,
    found: Found,
    read: Callable[[], Caption],
    masks: Callable[[Ids], Masks],
    **meta: Any,
) -> Case:
    """One case. A caption that cannot be read, media that are missing and masks that do not fit are its ``problem``, in this order;
    what could be read is kept, so that a failed case still counts its phrases."""
    caption, problem = attempt(read)
    truth = Truth((), frames=len(found.media.names) or None, size=found.size)
    told: dict[str, Any] = {"video": name, "frames": tuple(Path(file).stem for file in found.media.names)}
    problem = problem or found.problem
    if caption is not None:
        truth = replace(truth, phrases=caption.phrases, caption=caption.text, marked=caption.marked)
        told["objects"] = caption.ids
        if problem is None:
            reader, problem = attempt(partial(masks, caption.ids))
            truth = replace(truth, masks_of=reader)
    return Case(
        id=f"{task}/{split}/{name}",
        video=f"{task}/{name}",
        media=found.media,
        question=DESCRIBE,
        truth=truth,
        meta={**told, **meta},
        problem=problem,
    )


def _pngs(found: Found) -> tuple[str, ...]:
    """Names of the mask files that stand beside the frames."""
    return tuple(f"{Path(name).stem}.png" for name in found.media.names)


def _size(found: Found) -> Size:
    assert found.size is not None, "frames that were found have a size"
    return found.size
