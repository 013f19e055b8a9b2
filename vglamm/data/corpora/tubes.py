"""Spatio-temporal grounding with boxes: VidSTG and HC-STVG. Videos come as files; 1 frame per second and at most 40.

Each set is two tasks, as it was published with and without ``--tmp_loc``: the frames are those of the true moment (``vidstg``,
``hcstvg``), or of the whole segment, in which the moment has to be found too (``vidstg_moment``, ``hcstvg_moment``). The truth is
in frames of the file, at the file's own size, whichever frames are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vglamm.data.corpora.case import Case, Frames, Truth, Tube
from vglamm.data.corpora.layout import Node, attempt, find_file, inside, load
from vglamm.data.corpora.prompts import DECLARATIVE, INTERROGATIVE, locate
from vglamm.media.rle import Box

SAMPLED_FPS, SAMPLED_LIMIT = 1.0, 40
HCSTVG_SECONDS = 20.0
"""Every video of HC-STVG lasts 20 s; its rate follows from its number of frames."""


@dataclass(frozen=True)
class _Span:
    """Frames ``first`` to ``stop - 1`` of a video at ``fps``."""

    first: int
    stop: int
    fps: float

    def frames(self) -> Frames:
        # half a frame before each border: a time that is rounded must not fall on the other side
        start = (self.first - 0.5) / self.fps if self.first else None
        return Frames(SAMPLED_FPS, SAMPLED_LIMIT, start, (self.stop - 0.5) / self.fps)

    def check(self, count: int, entry: Node) -> None:
        if not 0 <= self.first < self.stop <= count:
            raise entry.wrong(f"frames {self.first} to {self.stop - 1} of {count}", "frames of the video, at least one")


@dataclass(frozen=True)
class _Located:
    """An entry of either set. path: of the video, below the set's folder of videos. boxes: reads the tube."""

    entry: Node
    video: str
    exp_id: str
    path: str
    caption: str
    kind: str
    count: int
    size: tuple[int, int]
    span: _Span
    shown: Frames
    boxes: Callable[[], Tube]


def vidstg(root: Path, split: str, *, moment: bool = False) -> Iterator[Case]:
    """VidSTG. ``meta``: kind (interrogative or declarative), video, exp_id (``video_id`` of the index), asked_from."""
    index = load(root / "processed" / "vidstg" / "vidstg_annotations" / f"{split}.json")
    trajectories = index["trajectories"]
    for entry in index["videos"].items():
        located = _vidstg_entry(trajectories, entry, moment)
        if located.kind not in (INTERROGATIVE, DECLARATIVE):
            raise entry["qtype"].wrong(f"qtype {located.kind!r}", f"{INTERROGATIVE} or {DECLARATIVE}")
        task = "vidstg_moment" if moment else "vidstg"
        yield _case(task, split, root / "vidstg" / "video", located, located.caption, "caption")


def _vidstg_entry(trajectories: Node, entry: Node, moment: bool) -> _Located:
    vid, fps = entry["original_video_id"].text(), entry["fps"].number()
    if not fps > 0:
        raise entry["fps"].wrong(f"{fps:g} frames per second", "a rate above 0")
    span = _Span(entry["tube_start_frame"].whole(), entry["tube_end_frame"].whole(), fps)
    segment = _Span(entry["start_frame"].whole(), entry["end_frame"].whole(), fps)
    return _Located(
        entry=entry,
        video=vid,
        exp_id=str(entry["video_id"].whole()),
        path=entry["video_path"].path(),
        caption=entry["caption"].text(),
        kind=entry["qtype"].text(),
        count=entry["frame_count"].whole(),
        size=(entry["height"].whole(), entry["width"].whole()),
        span=span,
        shown=(segment if moment else span).frames(),
        boxes=partial(_trajectory, trajectories, vid, str(entry["target_id"].whole()), span),
    )


def _trajectory(trajectories: Node, vid: str, target: str, span: _Span) -> Tube:
    boxes = trajectories[vid][target]
    return {frame: _box(boxes[str(frame)]["bbox"]) for frame in range(span.first, span.stop)}


@dataclass(frozen=True)
class _Words:
    """How an index of HC-STVG calls what it tells."""

    count: str
    start: str
    boxes: str
    caption: str


_PROCESSED = _Words("frame_count", "tube_start_frame", "trajectory", "caption")
_RAW = _Words("img_num", "st_frame", "bbox", "English")


def hcstvg(root: Path, split: str, *, moment: bool = False) -> Iterator[Case]:
    """HC-STVG v2, from the processed index or, without one, from the set's own ``anno_v2``.

    Its frames count from 1 (unless the index has a frame 0); here, as everywhere, the first is 0. The published evaluation asks
    questions that another project wrote and that are no part of the set. With ``hcstvg/qa/<number>.json`` these are asked (kind
    interrogative, asked_from qa); without that folder the caption is (declarative, caption). ``meta``: kind, video, exp_id,
    asked_from.
    """
    words, entries = _hcstvg_index(root, split)
    base = min([1, *(entry[words.start].whole() for entry in entries)])
    written = root / "hcstvg" / "qa"
    asked_from, kind = ("qa", INTERROGATIVE) if written.is_dir() else ("caption", DECLARATIVE)
    task = "hcstvg_moment" if moment else "hcstvg"
    paths = _parts(root / "hcstvg" / "Video") if words is _RAW else {}
    for number, entry in enumerate(entries):
        located = _hcstvg_entry(words, entry, number, base, kind, moment, paths)
        question, problem = located.caption, None
        if written.is_dir():
            text, problem = attempt(partial(_question, written / f"{number}.json"))
            question = text or question
        case = _case(task, split, root / "hcstvg" / "Video", located, question, asked_from)
        yield replace(case, problem=case.problem or problem)


def _hcstvg_index(root: Path, split: str) -> tuple[_Words, list[Node]]:
    """The first index there is. Two names of the processed one are about: its writer and its reader disagreed."""
    processed = root / "processed" / "hcstvg" / "hcstvg_annotations"
    for name in (f"{split}_v2_proc.json", f"{split}v2_proc.json"):
        if (processed / name).is_file():
            return _PROCESSED, load(processed / name).items()
    raw = load(root / "hcstvg" / "anno_v2" / f"{split}_v2.json")
    return _RAW, [entry for _, entry in raw.entries()]


def _parts(videos: Path) -> dict[str, str]:
    """File name -> path below ``videos``, where the files lie in numbered parts."""
    return {path.name: f"{path.parent.name}/{path.name}" for path in sorted(videos.glob("*/*"))}


def _hcstvg_entry(words: _Words, entry: Node, number: int, base: int, kind: str, moment: bool, paths: dict[str, str]) -> _Located:
    count, boxes = entry[words.count].whole(), entry[words.boxes]
    if count < 1:
        raise entry[words.count].wrong(f"{count} frames", "1 or more")
    if words is _RAW:
        name = entry.key.rpartition("/")[2]
        vid, path, height, width = Path(name).stem, paths.get(name, name), entry["img_size"][0], entry["img_size"][1]
    else:
        vid, path = entry["original_video_id"].text(), entry["video_path"].path()
        height, width = entry["height"], entry["width"]
    first = entry[words.start].whole() - base
    span = _Span(first, first + len(boxes.items()), count / HCSTVG_SECONDS)
    if (end := entry.get("tube_end_frame")) and end.whole() - base != span.stop:
        raise end.wrong(f"a tube that ends before frame {end.value}", f"{span.stop + base}, as it has {len(boxes.items())} boxes")
    return _Located(
        entry=entry,
        video=vid,
        exp_id=str(number),
        path=inside(path, entry),
        caption=entry[words.caption].text(),
        kind=kind,
        count=count,
        size=(height.whole(), width.whole()),
        span=span,
        shown=Frames(SAMPLED_FPS, SAMPLED_LIMIT) if moment else span.frames(),
        boxes=partial(_listed_boxes, boxes, span.first),
    )


def _listed_boxes(boxes: Node, first: int) -> Tube:
    return {first + i: _box(box) for i, box in enumerate(boxes.items())}


def _question(path: Path) -> str:
    return load(path)["Q"].text()


def _case(task: str, split: str, videos: Path, located: _Located, question: str, asked_from: str) -> Case:
    """One case. A moment outside the video, a box that is missing and a video that is not there are its ``problem``."""
    span, found = located.span, find_file(videos / located.path)
    truth = Truth((located.caption,), frames=located.count, size=located.size)
    _, problem = attempt(partial(span.check, located.count, located.entry))
    if problem is None:
        tube, problem = attempt(located.boxes)
        seconds = span.first / span.fps, span.stop / span.fps
        truth = replace(truth, tube=tube, moment=(span.first, span.stop - 1), seconds=seconds)
    return Case(
        id=f"{task}/{split}/{located.exp_id}",
        video=f"{task}/{located.video}",
        media=found.media,
        question=locate(question, located.kind),
        truth=truth,
        frames=located.shown,
        meta={"video": located.video, "exp_id": located.exp_id, "kind": located.kind, "asked_from": asked_from},
        problem=found.problem or problem,
    )


def _box(node: Node) -> Box:
    """[x, y, width, height] as [x0, y0, x1, y1]. CorpusError unless it is four numbers with a width and height."""
    numbers = [number.number() for number in node.items()]
    if len(numbers) != 4 or numbers[2] <= 0 or numbers[3] <= 0:
        raise node.wrong(f"box {numbers}", "[x, y, width, height], width and height above 0")
    x, y, width, height = numbers
    return x, y, x + width, y + height
