"""What travels between deployments: by reference where it is large. Plain records, no torch, no Ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve.contract import Turns, Watching, Writing
from vglamm.records import Marks, Sampling, VisionInput, VisualTokens


@dataclass(frozen=True)
class Film:
    """Which frames of which video: its name in the spool and the options of sampling. A mode plays no part in it."""

    video: str
    watching: Watching


@dataclass(frozen=True)
class Header:
    """What the ingress needs to know of a video that was seen. end: seconds when it ends. spent: seconds by stage. bytes: of its
    visual tokens. model: identity of the weights. read: tokens of the prompt. place: the replica that keeps the visual tokens."""

    sampling: Sampling
    end: float
    spent: dict[str, float]
    bytes: int = 0
    model: str = ""
    read: int = 0
    place: str = ""


@dataclass(frozen=True)
class Look:
    """Frames for the language model, on their way from decode to vision."""

    given: VisionInput
    header: Header


@dataclass(frozen=True)
class Watched:
    """Visual tokens, on their way from vision to language."""

    tokens: VisualTokens
    header: Header


@dataclass(frozen=True)
class Asked:
    """A question without its video. live: see :class:`serve.contract.Ask`."""

    question: str
    history: Turns
    writing: Writing
    live: bool = True


@dataclass(frozen=True)
class Cue:
    """Prompts float[S, C] of the phrases so far, for who wants to track before the text has ended."""

    prompts: NDArray[np.float32]


@dataclass(frozen=True)
class Begun:
    """Work on a video that a pixel replica has done ahead: which replica, and the work's name there."""

    replica: str
    name: str


@dataclass(frozen=True)
class Grounding:
    """What pixel is to track. frames: K. prompts: float[S, C], or marks by hand of one object. begun: what was done ahead.
    early: the prompts may not be all, so that what was done ahead may be wanted again."""

    film: Film
    frames: int
    mode: str
    prompts: NDArray[np.float32] | None = None
    marks: Marks | None = None
    begun: Begun | None = None
    early: bool = False

    @property
    def objects(self) -> int:
        return 1 if self.prompts is None else len(self.prompts)
