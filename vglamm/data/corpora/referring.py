"""Referring video segmentation: MeViS, Ref-YouTube-VOS, Ref-DAVIS17. One case for each expression, over all frames.

Where the published readers sum the masks of several objects, these join them (a sum of 2 is no mask), and no video is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vglamm.data.corpora.case import Case, Truth
from vglamm.data.corpora.layout import Found, Node, attempt, find_frames, inside, load, need_files
from vglamm.data.corpora.masks import LabelMaps, RleLists
from vglamm.data.corpora.prompts import expression_text, refer_video
from vglamm.errors import VglammError

FPS = 6.0
"""Frames per second of YouTube-VOS and MeViS as they are handed out (every fifth frame); of no effect on masks or scores."""
DAVIS_FPS = 24.0

DAVIS_PASSES = ("Davis17_annot1", "Davis17_annot1_full_video", "Davis17_annot2", "Davis17_annot2_full_video")
"""The four passes of Ref-DAVIS17, by their published names: two annotators, who saw the first frame or the full video. A score is
the mean of the four. ``meta["annotator"]`` is the place in this list."""
VOID = 255


def mevis(root: Path, split: str) -> Iterator[Case]:
    """MeViS. train and valid_u have masks; valid has none (its server scores it). ``meta``: exp_id, expression, frames."""
    folder = root / "mevis" / split
    videos = load(folder / "meta_expressions.json")["videos"]
    masks = folder / "mask_dict.json" if split != "valid" else None
    if masks is not None:
        load(masks)
    for vid, video in videos.entries():
        names, found = frames_of(folder / "JPEGImages", vid, video, FPS)
        for exp_id, entry in video["expressions"].entries():
            case = _case("mevis", split, vid, exp_id, entry, names, found)
            if masks is None or found.size is None:
                yield case
                continue
            paths = tuple((str(anno.value),) for anno in entry["anno_id"].items())
            wanted = RleLists(str(masks), (paths,), len(names), found.size)
            reader, problem = attempt(wanted.checked)
            yield replace(case, truth=replace(case.truth, masks_of=reader), problem=case.problem or problem)


def ref_youtube_vos(root: Path, split: str) -> Iterator[Case]:
    """Ref-YouTube-VOS. valid is what its server scores, the keys of valid that are not in test (202 videos), without masks; train
    has masks."""
    folder = root / "refer_youtube_vos"
    expressions = folder / "meta_expressions"
    videos = load(expressions / split / "meta_expressions.json")["videos"]
    test = {vid for vid, _ in load(expressions / "test" / "meta_expressions.json")["videos"].entries()} if split == "valid" else ()
    known = _known_objects(folder / split)
    for vid, video in videos.entries():
        if vid in test:
            continue
        names, found = frames_of(folder / split / "JPEGImages", vid, video, FPS)
        for exp_id, entry in video["expressions"].entries():
            case = _case("ref_youtube_vos", split, vid, exp_id, entry, names, found)
            if split == "valid":
                yield case
                continue
            object_id = entry["obj_id"].whole()
            problem = _unknown(known, vid, object_id)
            case = replace(case, problem=case.problem or problem)
            yield _with_labels(case, folder / split / "Annotations" / vid, names, found, object_id)


def ref_davis17(root: Path, split: str) -> Iterator[Case]:
    """Ref-DAVIS17: for each object four expressions, one a pass (:data:`DAVIS_PASSES`).

    ``meta``: also annotator (0..3), pass, object (the id in the annotations). Each case is over the whole video;
    :func:`vglamm.data.corpora.case.clips` cuts it into the 64 frames that the published evaluation asks about at a time.
    """
    folder = root / "processed" / "refer_davis" / "2017"
    known = _known_objects(folder / split)
    for vid, video in load(folder / "meta_expressions" / split / "meta_expressions.json")["videos"].entries():
        names, found = frames_of(folder / split / "JPEGImages", vid, video, DAVIS_FPS)
        entries = list(video["expressions"].entries())
        if len(entries) % len(DAVIS_PASSES):
            raise video.wrong(f"{len(entries)} expressions", "four for each object, one of each pass")
        for i, (exp_id, entry) in enumerate(entries):
            number, annotator = divmod(i, len(DAVIS_PASSES))
            first = entries[i - annotator][1].get("obj_id")
            told = entry.get("obj_id")
            if (told and told.whole()) != (first and first.whole()):
                raise entry.wrong("another obj_id than the expression before", "the four expressions of an object in a row")
            object_id = told.whole() if told else number + 1
            case = _case("ref_davis17", split, vid, exp_id, entry, names, found)
            more = {"annotator": annotator, "pass": DAVIS_PASSES[annotator], "object": object_id}
            problem = case.problem or _unknown(known, vid, object_id)
            case = replace(case, meta={**case.meta, **more}, problem=problem)
            yield _with_labels(case, folder / split / "Annotations" / vid, names, found, object_id, void=True)


def frames_of(folder: Path, vid: str, video: Node, fps: float) -> tuple[list[str], Found]:
    """The sorted frame names of a video as its entry lists them, and its frames ``<folder>/<vid>/<name>.jpg``."""
    names = sorted(name.path() for name in video["frames"].items())
    if len(set(names)) != len(names):
        raise video["frames"].wrong("a frame that is listed twice", "each frame once")
    return names, find_frames(folder / inside(vid, video), [f"{name}.jpg" for name in names], fps)


def _case(task: str, split: str, vid: str, exp_id: str, entry: Node, names: list[str], found: Found) -> Case:
    expression = entry["exp"].text()
    return Case(
        id=f"{task}/{split}/{vid}/{exp_id}",
        video=f"{task}/{vid}",
        media=found.media,
        question=refer_video(expression),
        truth=Truth((expression_text(expression),), frames=len(names), size=found.size),
        meta={"video": vid, "exp_id": exp_id, "expression": expression, "frames": tuple(names)},
        problem=found.problem,
    )


def _known_objects(folder: Path) -> Node | None:
    """``videos`` of ``meta.json``, which lists the objects of each video, or None where the set comes without this file."""
    return load(folder / "meta.json")["videos"] if (folder / "meta.json").is_file() else None


def _unknown(known: Node | None, vid: str, object_id: int) -> VglammError | None:
    """What is wrong if ``meta.json`` does not list this object: an id in no PNG would read as an object that is never visible."""
    if known is None:
        return None
    _, problem = attempt(lambda: known[vid]["objects"][str(object_id)])
    return problem


def _with_labels(case: Case, folder: Path, names: list[str], found: Found, object_id: int, *, void: bool = False) -> Case:
    """``case`` with the masks of one object from palette PNGs. void: pixels of 255 do not count, as DAVIS scores."""
    if found.size is None:
        return case
    files = tuple(f"{name}.png" for name in names)
    _, problem = attempt(lambda: need_files(folder, files))
    if problem is not None:
        return replace(case, problem=case.problem or problem)
    masks = LabelMaps(str(folder), files, ((object_id,),), found.size)
    ignored = replace(masks, objects=((VOID,),)) if void else None
    return replace(case, truth=replace(case.truth, masks_of=masks, ignored_of=ignored))
