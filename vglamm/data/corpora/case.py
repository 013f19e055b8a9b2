"""What every evaluation set yields: one question about one video, and, apart from it, what is true.

A :class:`Case` is asked and answered without its truth: :meth:`Case.row` is what travels to a cluster. The truth is read from the
set's own files when a scorer asks for it, a few frames at a time if need be.

Frames are counted as ``media.open()`` counts them, which is how ``Answer.sampling.grounding_indices`` counts them too.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import CorpusError, VglammError
from vglamm.media.folder import FolderSource, frame_names
from vglamm.media.limits import Limits
from vglamm.media.read import VideoSource, open_video
from vglamm.media.rle import Box

Bool = NDArray[np.bool_]
Tube = Mapping[int, Box]
"""Frame -> box [x0, y0, x1, y1] in pixels of the source, x1 and y1 exclusive."""


class Masks(Protocol):
    """Reads the masks of the G objects of a case on the frames asked for: bool[G, len(frames), H, W]."""

    def __call__(self, frames: Sequence[int]) -> Bool: ...


@dataclass(frozen=True)
class Media:
    """Where the frames of a case are.

    uri: path of a video or image file, or of a folder of frame images. names: of a folder, the files that are the frames, in
    order; () for a file. fps: of a folder, its rate; None for a file. is_image: the file is one still image.
    """

    uri: str
    names: tuple[str, ...] = ()
    fps: float | None = None
    is_image: bool = False

    def open(self, limits: Limits | None = None) -> VideoSource:
        """The frames. Errors are those of :func:`vglamm.media.read.open_video`."""
        if self.names:
            assert self.fps is not None, "a folder of frames has a rate"
            return FolderSource(self.uri, self.names, self.fps, limits)
        return open_video(self.uri, limits)

    def plain(self, links: Path) -> str:
        """A path that alone names these frames, in this order, to ``open_video(path, fps=self.fps)``.

        It is ``uri`` itself, unless the folder holds other frames too (or another order): then a folder of links below ``links``,
        made now, which must be where every reader of the path can see it.
        """
        if not self.names or frame_names(self.uri) == self.names:
            return self.uri
        stamp = hashlib.sha256("\n".join((os.path.abspath(self.uri), *self.names)).encode()).hexdigest()[:16]
        folder = links / f"{Path(self.uri).name}-{stamp}"
        if not folder.is_dir():
            links.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=".linking-", dir=links))
            for number, name in enumerate(self.names):
                file = Path(self.uri, name).resolve()
                (partial / f"{number:06d}{file.suffix}").symlink_to(file)
            partial.rename(folder)
        return str(folder)


@dataclass(frozen=True)
class Frames:
    """Which frames a task grounds: those from ``start`` on and before ``end`` (seconds since
    the first frame; None for the ends of the video), all of
    them or ``fps`` per second, at most ``limit``."""

    fps: float | None = None
    limit: int | None = None
    start: float | None = None
    end: float | None = None

    def sampling(self) -> dict[str, Any]:
        """The keywords of :func:`vglamm.frames.choose` (and of ``Walk.ask`` and ``Walk.watch``)."""
        rate: dict[str, Any] = {"every_frame": True} if self.fps is None else {"fps": self.fps}
        return rate | {"limit": self.limit, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class Truth:
    """What is true of a case. G objects, one for each ``[SEG]`` that a right answer has; F frames as the media counts them.

    phrases: G texts (of a referring set the expression). caption: of grounded conversations, without tags. marked: the same as the
    model would answer, with ``<p> phrase </p> [SEG]`` for each of the G. frames: F, None where the set does not tell. size: (H, W)
    of the frames, None likewise. masks_of: reads the masks, None where the set has none. ignored_of: reads pixels that count
    neither as right nor as wrong, G of 1, or None. tube: of a set of boxes, the box on every frame of the true moment. moment:
    (first, last) frame of it, both included. seconds: the same moment as (start, end) in seconds, end exclusive, by the rate that
    the set tells. shown: frames that are annotated (all if None); what is on the others
    is not known.
    """

    phrases: tuple[str, ...]
    caption: str | None = None
    marked: str | None = None
    frames: int | None = None
    size: tuple[int, int] | None = None
    masks_of: Masks | None = None
    ignored_of: Masks | None = None
    tube: Tube | None = None
    moment: tuple[int, int] | None = None
    seconds: tuple[float, float] | None = None
    shown: tuple[int, ...] | None = None

    @property
    def has_masks(self) -> bool:
        return self.masks_of is not None

    def masks(self, frames: Sequence[int] | None = None) -> Bool:
        """bool[G, F, H, W], or of ``frames`` only, in their order; an object that is not visible has an empty mask.

        Reads the set's files: CorpusError or MaskError names the file and key that is wrong. CorpusError if the set has no masks
        or a frame does not exist.
        """
        return self._read(self.masks_of, "masks", frames, len(self.phrases))

    def ignored(self, frames: Sequence[int] | None = None) -> Bool | None:
        """bool[F, H, W], pixels that are left out of the score, or None if the set has no such pixels. Errors as :meth:`masks`."""
        return None if self.ignored_of is None else self._read(self.ignored_of, "ignored pixels", frames, 1)[0]

    def boxes(self, frames: Sequence[int]) -> list[Box | None]:
        """The true box on each of ``frames``, None outside the true moment. CorpusError if the set has no boxes."""
        if self.tube is None:
            raise CorpusError("boxes asked of a truth without them", "a set of boxes (vidstg, hcstvg)", "ask for masks")
        return [self.tube.get(frame) for frame in frames]

    def _read(self, reader: Masks | None, what: str, frames: Sequence[int] | None, objects: int) -> Bool:
        if reader is None or self.frames is None:
            raise CorpusError(f"{what} asked of a truth without them", "a set or split with masks", "ask has_masks first")
        wanted = range(self.frames) if frames is None else [int(frame) for frame in frames]
        for frame in wanted:
            if not 0 <= frame < self.frames or (self.shown is not None and frame not in self.shown):
                there = f"frames 0 to {self.frames - 1}" if self.shown is None else f"the annotated frames {list(self.shown)}"
                raise CorpusError(f"{what} of frame {frame}", there, "score the frames that are annotated")
        found = reader(wanted)
        assert found.dtype == np.bool_
        assert found.shape[:2] == (objects, len(wanted))
        if self.size is not None and found.shape[2:] != self.size:
            raise CorpusError(f"{what} of size {list(found.shape[2:])}", f"{list(self.size)}", "check the set's annotation")
        return found


@dataclass(frozen=True)
class Case:
    """One question of an evaluation set.

    id: unique in its set and split. video: shared by all cases about one video. question: as the published evaluation asks it.
    frames: which frames the task grounds. meta: what a submission or a report needs, plain values: ``exp_id``, ``frames`` (names
    without suffix), ``annotator``, ``kind``, ... problem: why the case cannot be asked or scored (a video that is not on this
    disk, truth that does not fit it), or None. Such a case is yielded all the same, to be counted as failed and not left out.
    """

    id: str
    video: str
    media: Media
    question: str
    truth: Truth
    frames: Frames = Frames()
    meta: Mapping[str, Any] = field(default_factory=dict)
    problem: VglammError | None = None

    @property
    def usable(self) -> bool:
        return self.problem is None

    def row(self, links: Path) -> dict[str, Any]:
        """What a bulk job needs, plain values without any truth: case, video, uri, source_fps, question, and the fields of
        :class:`Frames`. Folders of links go below ``links`` where they are needed (:meth:`Media.plain`). Raises ``problem``."""
        if self.problem is not None:
            raise self.problem
        told = {"case": self.id, "video": self.video, "uri": self.media.plain(links), "source_fps": self.media.fps}
        asked = self.frames
        rule = {"fps": asked.fps, "limit": asked.limit, "start": asked.start, "end": asked.end}
        return told | {"question": self.question} | rule

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """CorpusError unless a video of that many frames and of ``size`` (H, W) is the one that the truth tells of.

        frames, size: ``Answer.sampling.source_frames`` and ``.size``. A video file may hold a few frames more or less than its
        annotation counts, as containers do, as long as it has every frame of the true moment; a folder may not.
        """
        truth = self.truth
        if truth.size is not None and tuple(size) != truth.size:
            raise CorpusError(f"{self.media.uri!r} of size {list(size)} (H, W)", f"{list(truth.size)} as annotated", _OTHER)
        least = truth.moment[1] + 1 if truth.moment else truth.frames
        exact = truth.frames is not None and (truth.has_masks or bool(self.media.names))
        if (least is not None and frames < least) or (exact and frames != truth.frames):
            raise CorpusError(f"{self.media.uri!r} of {frames} frames", f"{truth.frames or least} as annotated", _OTHER)


_OTHER = "is it another version of the video? take the one that the set was annotated on"


def clips(case: Case, length: int) -> Iterator[Case]:
    """A case over a folder of frames cut into cases of at most ``length`` frames, as the published evaluation of Ref-DAVIS17 asks.

    Ids end in ``@0``, ``@1``, ...; ``meta["clip"]`` is (first, stop), frames of the whole. The truth stays that of the whole.
    """
    count, fps = len(case.media.names), case.media.fps
    if fps is None or length < 1:
        raise CorpusError(f"clips of {length} frames of {case.media.uri!r}", "a folder of frames, length >= 1", "ask it whole")
    for number in range(math.ceil(count / length)):
        first, stop = number * length, min(count, (number + 1) * length)
        # half a frame before each border: a time that is rounded must not fall on the other side
        span = replace(case.frames, start=(first - 0.5) / fps if first else None, end=(stop - 0.5) / fps)
        yield replace(case, id=f"{case.id}@{number}", frames=span, meta={**case.meta, "clip": (first, stop)})
