"""Evaluation sets in the layouts they are handed out in, each as a stream of cases: :func:`read`.

What is wrong with an index as a whole (missing, not JSON, without a key that its layout has) raises CorpusError and names file and
key. What is wrong with the media or the truth of one entry becomes ``Case.problem``: the case is yielded, and is to be counted as
failed. No entry is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from vglamm.data.corpora import gcg, images, referring, tubes
from vglamm.data.corpora.case import Case, Frames, Media, Truth, clips
from vglamm.errors import ConfigError, CorpusError

__all__ = ["TASKS", "Case", "Frames", "Media", "Task", "Truth", "clips", "read"]


@dataclass(frozen=True)
class Task:
    """An evaluation set. splits: the first is the one that is scored by default. images: its root is that of image sets."""

    cases: Callable[[Path, str], Iterator[Case]]
    splits: tuple[str, ...]
    images: bool = False


def _gcg(root: Path, split: str) -> Iterator[Case]:
    """The benchmark of grounded conversations: three sets one after another, as published."""
    return chain(gcg.video_gcg(root, "test"), gcg.mevis_gcg(root, "valid_u"), gcg.vidstg_gcg(root, "val"))


_COCO = ("val", "testA", "testB", "train")

TASKS: dict[str, Task] = {
    "gcg": Task(_gcg, ("val",)),
    "video_gcg": Task(gcg.video_gcg, ("test", "val", "train")),
    "ytvos_gcg": Task(gcg.ytvos_gcg, ("train",)),
    "mevis_gcg": Task(gcg.mevis_gcg, ("valid_u", "train")),
    "vidstg_gcg": Task(gcg.vidstg_gcg, ("val", "test", "train")),
    "hcstvg_gcg": Task(gcg.hcstvg_gcg, ("val", "train")),
    "anet_gcg": Task(gcg.anet_gcg, ("all",)),
    "mevis": Task(referring.mevis, ("valid_u", "valid", "train")),
    "ref_youtube_vos": Task(referring.ref_youtube_vos, ("valid", "train")),
    "ref_davis17": Task(referring.ref_davis17, ("valid", "train")),
    "vidstg": Task(tubes.vidstg, ("test", "val", "train")),
    "vidstg_moment": Task(partial(tubes.vidstg, moment=True), ("test", "val", "train")),
    "hcstvg": Task(tubes.hcstvg, ("val", "train")),
    "hcstvg_moment": Task(partial(tubes.hcstvg, moment=True), ("val", "train")),
    "refcoco": Task(partial(images.refcoco, name="refcoco"), _COCO, images=True),
    "refcoco+": Task(partial(images.refcoco, name="refcoco+"), _COCO, images=True),
    "refcocog": Task(partial(images.refcoco, name="refcocog"), ("val", "test", "train"), images=True),
    "grefcoco": Task(partial(images.refcoco, name="grefcoco"), _COCO, images=True),
    "reason_seg": Task(images.reason_seg, ("val", "test", "train"), images=True),
}


def read(task: str, root: str | os.PathLike[str], split: str | None = None) -> Iterator[Case]:
    """The cases of a set in the order of its index.

    task: a name in :data:`TASKS`. root: the folder of video sets (``video_dataset``) or, where ``TASKS[task].images``, of image
    sets (``dataset``). split: one of the task's; by default its first. Raises ConfigError for a task or split that does not exist,
    CorpusError for a root that does not or for a broken index (the latter when the first case is asked for).
    """
    if task not in TASKS:
        raise ConfigError(f"task {task!r}", f"one of {', '.join(TASKS)}", "check the spelling")
    splits = TASKS[task].splits
    split = splits[0] if split is None else split
    if split not in splits:
        raise ConfigError(f"split {split!r} of {task}", f"one of {', '.join(splits)}", "check the split")
    folder = Path(os.path.abspath(root))
    if not folder.is_dir():
        raise CorpusError(f"no folder {folder}", "the root of the data sets", "check the root")
    return _unique(TASKS[task].cases(folder, split))


def _unique(cases: Iterator[Case]) -> Iterator[Case]:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise CorpusError(f"two cases of id {case.id}", "each id once", "is an entry listed twice in the index?")
        seen.add(case.id)
        yield case
