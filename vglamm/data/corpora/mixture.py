"""Several sets as one endless list to learn from: an id is a draw, the same whoever asks.

First a set is drawn by its share, then one of its cases evenly, as the published training does it. Videos that are held out for
validation are never learnt from.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vglamm.data.corpora import TASKS, read
from vglamm.data.corpora.case import Case
from vglamm.errors import ConfigError, CorpusError

log = logging.getLogger(__name__)

HELD_OUT = 900_000_000
"""Ids from here on are draws from the videos that are held out (``validation.start`` of a recipe)."""


@dataclass(frozen=True)
class Shelf:
    """The cases of one set that can be learnt from, by video: those to learn from and those held out."""

    learnt: tuple[tuple[Case, ...], ...]
    held: tuple[tuple[Case, ...], ...]

    def draw(self, held: bool, rng: np.random.Generator, most: int) -> list[Case]:
        """A case, each with the same chance, and of the same video up to ``most - 1`` others."""
        videos = self.held if held else self.learnt
        ends = np.cumsum([len(cases) for cases in videos])
        place = int(rng.integers(ends[-1]))
        number = int(np.searchsorted(ends, place, side="right"))
        cases = videos[number]
        first = place - int(ends[number] - len(cases))
        others = [i for i in rng.permutation(len(cases)).tolist() if i != first]
        return [cases[i] for i in (first, *others[: most - 1])]


@dataclass(frozen=True)
class Mixture:
    """shares: of each set (a task of :data:`vglamm.data.corpora.TASKS` whose training split has masks) how often it is drawn, in
    relation to the others; 0 leaves it out. videos, images: the roots of video sets and of image sets. held_out: share of the
    videos that are kept for validation, about that of each set and at least one; 0 keeps none.

    Indices are read when the first id of a process is asked for. ConfigError for a set or share that is none.
    """

    shares: Mapping[str, float]
    videos: str | None = None
    images: str | None = None
    held_out: float = 0.02

    def __post_init__(self) -> None:
        known = [name for name in TASKS if _taught(name)]
        if wrong := sorted(set(self.shares) - set(known)):
            raise ConfigError(f"corpora {wrong}", f"sets with masks to learn from: {', '.join(known)}", "fix settings.corpora")
        if min(self.shares.values(), default=0) < 0 or not self.drawn:
            raise ConfigError(f"shares {dict(self.shares)}", "shares of 0 or more, one of them above 0", "fix settings.corpora")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out {self.held_out}", "a share from 0 to below 1", "fix settings.held_out")
        for name in self.drawn:
            self._root(name)

    @property
    def drawn(self) -> dict[str, float]:
        """The sets that are drawn, with their shares."""
        return {name: float(share) for name, share in self.shares.items() if share > 0}

    def cases(self, number: int, rng: np.random.Generator, most: int = 1) -> list[Case]:
        """The draw ``number``: up to ``most`` cases of one video. rng: what is drawn with it. CorpusError for a set without a case
        that can be used, ConfigError for an id to validate with where nothing is held out."""
        held = number >= HELD_OUT
        if held and not self.held_out:
            raise ConfigError(f"sample {number} with held_out 0", "videos that are held out", "set settings.held_out above 0")
        names, shares = list(self.drawn), np.array(list(self.drawn.values()))
        return self.shelf(names[int(rng.choice(len(names), p=shares / shares.sum()))]).draw(held, rng, most)

    def shelf(self, name: str) -> Shelf:
        """The cases of one set; its index is read once in a process."""
        kept: dict[str, Shelf] = self.__dict__.setdefault("_shelves", {})
        if name not in kept:
            kept[name] = self._read(name)
        return kept[name]

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_shelves"}

    def _root(self, name: str) -> Path:
        kind = "images" if TASKS[name].images else "videos"
        root = getattr(self, kind)
        if root is None:
            raise ConfigError(f"{name} without a root of {kind}", "the folder that the sets lie in", f"set settings.{kind}")
        return Path(root)

    def _read(self, name: str) -> Shelf:
        by_video: dict[str, list[Case]] = {}
        bad: list[Case] = []
        for case in read(name, self._root(name), _split(name)):
            if case.usable:
                by_video.setdefault(case.video, []).append(case)
            else:
                bad.append(case)
        if bad:
            log.warning("%s: %d cases cannot be learnt from, the first %s: %s", name, len(bad), bad[0].id, bad[0].problem)
        least = 2 if self.held_out else 1
        if len(by_video) < least:
            raise CorpusError(
                f"{name} of {len(by_video)} videos that can be used, {len(bad)} cases that cannot",
                f"at least {least}" + (", one of them to validate with" if self.held_out else ""),
                f"look at the first problem ({bad[0].problem})" if bad else "check the root and the split",
            )
        lots = {video: _lot(cases[0], self._root(name)) for video, cases in by_video.items()}
        order = sorted(by_video, key=lots.__getitem__)
        below = sum(lot < self.held_out for lot in lots.values())
        cut = min(max(1, below), len(order) - 1) if self.held_out else 0
        groups = [tuple(by_video[video]) for video in order]
        return Shelf(tuple(groups[cut:]), tuple(groups[:cut]))


def _lot(case: Case, root: Path) -> float:
    """From 0 to below 1, by where the frames are alone: sets that share videos hold out the same ones, whichever of their cases
    can be used. Segments of one video are together."""
    frames = Path(case.media.uri)
    place = os.path.relpath(frames.parent if "segment" in case.meta else frames, root)
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8]) / 2**64


def _split(name: str) -> str:
    return "train" if "train" in TASKS[name].splits else TASKS[name].splits[0]


def _taught(name: str) -> bool:
    """Whether the training split of a set has masks: those of boxes and moments alone have none; "gcg" is three others."""
    return name not in ("gcg", "vidstg", "vidstg_moment", "hcstvg", "hcstvg_moment")
