"""Which cases are asked in which order, and the manifest that asks them.

A case is a row of the job. Cases that follow each other, ask about the same frames of the same video and are few enough become one
video with several questions, so that its frames are decoded and seen once. The rows of the job are then those of the usable cases,
in their order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ray_jobs.annotate.manifest import Job, Manifest
from vglamm.data.corpora import TASKS, Case, clips, read
from vglamm.errors import ConfigError, CorpusError, VglammError

IN_CLIPS = "ref_davis17"
CLIP = 64
"""Frames that the published evaluation of Ref-DAVIS17 asks about at a time."""
TOGETHER = 16
"""Questions of one video in one job at most: all their objects are in memory together, and if it fails they all fail."""
_PLACE = ("uri", "source_fps", "fps", "limit", "start", "end")


@dataclass(frozen=True)
class Cases:
    """The cases of an evaluation in the order in which they are asked. Each iteration reads the set again, so that no more than one
    video's cases are held. limit: the first cases only. Of Ref-DAVIS17, a video of more than :data:`CLIP` frames has its cases
    twice: whole, then cut into clips."""

    task: str
    root: Path
    split: str
    limit: int | None = None

    @staticmethod
    def of(task: str, data: str | None, images: str | None, split: str | None, limit: int | None = None) -> Cases:
        """data, images: the roots of video sets and of image sets; the former serves for both. ConfigError for a task or split that
        does not exist, or no root."""
        if task not in TASKS:
            raise ConfigError(f"task {task!r}", f"world, or one of {', '.join(TASKS)}", "check the spelling")
        wanted, option = (images or data, "--images or --data") if TASKS[task].images else (data, "--data")
        if wanted is None:
            raise ConfigError(f"{task} without {option}", "the root of the data sets", f"pass {option} ROOT, see docs/evaluate.md")
        found = Cases(task, Path(wanted), split or TASKS[task].splits[0], limit)
        read(found.task, found.root, found.split)  # nothing is read yet; a wrong split or root is told now
        return found

    def __iter__(self) -> Iterator[Case]:
        cases = islice(read(self.task, self.root, self.split), self.limit)
        return _in_clips(cases) if self.task == IN_CLIPS else cases


def _in_clips(cases: Iterable[Case]) -> Iterator[Case]:
    for _, group in groupby(cases, key=lambda case: case.video):
        whole = list(group)
        yield from whole
        long = [list(clips(case, CLIP)) for case in whole if case.usable and len(case.media.names) > CLIP]
        yield from chain.from_iterable(zip(*long, strict=True))  # clip by clip, the expressions of each side by side


@dataclass(frozen=True)
class Plan:
    """manifest: of the usable cases. digest: hash of all cases, of what is asked and not of where it lies. cases: how many.
    unusable: how many of them cannot be asked."""

    manifest: Manifest
    digest: str
    cases: int
    unusable: int


def make_plan(cases: Iterable[Case], links: Path) -> Plan:
    """The plan of some cases. links: where folders of links go, of sets whose folders hold other frames too. CorpusError if no case
    can be asked."""
    hashed, rows = hashlib.sha256(), []
    count, problem = 0, None
    for case in cases:
        count += 1
        hashed.update(json.dumps(_told(case), sort_keys=True).encode() + b"\n")
        if case.problem is None:
            rows.append(case.row(links))
        else:
            problem = problem or case.problem
    if not rows:
        raise _nothing(count, problem)
    return Plan(_manifest(rows), hashed.hexdigest(), count, count - len(rows))


def _told(case: Case) -> dict[str, Any]:
    asked = {"case": case.id, "question": case.question, "frames": case.frames.sampling(), "fps": case.media.fps}
    problem = None if case.problem is None else type(case.problem).__name__
    return asked | {"names": list(case.media.names), "problem": problem}


def _nothing(count: int, problem: VglammError | None) -> CorpusError:
    if problem is None:
        return CorpusError("a split without a case", "at least one", "check the root and the split")
    return CorpusError(f"{count} cases of which none can be asked; of the first: {problem.got}", problem.expected, problem.fix)


def _manifest(rows: Iterable[dict[str, Any]]) -> Manifest:
    jobs: list[Job] = []
    first = 0
    for group in _together(rows):
        one = group[0]
        sampling = {name: one[name] for name in _PLACE[1:] if one[name] is not None}
        sampling |= {"every_frame": True} if one["fps"] is None else {}
        questions = tuple(row["question"] for row in group)
        extra = {"cases": [row["case"] for row in group]}
        jobs.append(Job(len(jobs), first, one["case"], one["uri"], questions, sampling, extra))
        first += len(group)
    return Manifest(tuple(jobs), (pa.field("cases", pa.list_(pa.string())),))


def _together(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        if group and (len(group) == TOGETHER or any(row[name] != group[0][name] for name in _PLACE)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
