"""What each stage of a bulk job gets of the cluster: one YAML file, or a named one of ``profile_files``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vglamm.config import at_least, profile
from vglamm.errors import ConfigError

log = logging.getLogger(__name__)

LAYOUTS = ("split", "whole")
GIB = 1024**3


@dataclass(frozen=True)
class Pool:
    """One stage's actors. actors: fewest and most. cpus, gpus: of each, fractions allowed. memory: GiB of each that Ray sets aside
    (0: not counted). batch: videos in a call. labels: of nodes that it may run on. threads: of torch in each."""

    actors: tuple[int, ...] = (1, 1)
    cpus: float = 0.25
    gpus: float = 0.0
    memory: float = 0.0
    batch: int = 1
    labels: dict[str, Any] = field(default_factory=dict)
    threads: int = 1

    def __post_init__(self) -> None:
        if len(self.actors) != 2 or not 1 <= self.actors[0] <= self.actors[1]:
            raise ConfigError(f"actors {list(self.actors)}", "[fewest, most] with 1 <= fewest <= most", "fix the profile")
        at_least(1, {"batch": self.batch, "threads": self.threads}, "fix the profile")
        at_least(0, {"cpus": self.cpus, "gpus": self.gpus, "memory": self.memory}, "fix the profile")

    @property
    def scheduling(self) -> dict[str, Any]:
        """What Ray is asked for, for each actor."""
        return {"num_gpus": self.gpus, **_asked(self.cpus, self.memory, self.labels)}


@dataclass(frozen=True)
class Frames:
    """Decoding of grounding frames: an actor on a CPU for each one that grounds. cpus, memory (GiB): of each. ahead: chunks that
    wait at most. labels: of nodes that it may run on."""

    cpus: float = 0.25
    memory: float = 0.0
    ahead: int = 2
    labels: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at_least(1, {"ahead": self.ahead}, "fix the profile")
        at_least(0, {"cpus": self.cpus, "memory": self.memory}, "fix the profile")

    @property
    def scheduling(self) -> dict[str, Any]:
        return _asked(self.cpus, self.memory, self.labels)


@dataclass(frozen=True)
class Profile:
    """layout: "split" (an actor pool for each part) or "whole" (one pool whose actors hold all three parts: ``whole``). device:
    "auto" (CUDA where an actor has a GPU that torch can use, else the CPU), "cpu" or "cuda". dtype: of the weights, None as stored.
    elastic: nodes come when they are asked for (a Ray with an autoscaler), so that what is there says nothing of what will be.
    retries: how often a row that lost its actor is tried again before it fails. stall: seconds without any progress after which
    the job gives up instead of hanging; longer than the slowest copy of a video that is far away."""

    name: str
    layout: str = "split"
    decode_vision: Pool = Pool()
    vision: Pool = Pool()
    language: Pool = Pool()
    decode_pixel: Frames = Frames()
    pixel: Pool = Pool()
    whole: Pool = Pool()
    device: str = "auto"
    dtype: str | None = None
    elastic: bool = False
    retries: int = 2
    stall: float = 1800.0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ConfigError(f"layout {self.layout!r}", f"one of {', '.join(LAYOUTS)}", "fix the profile")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device {self.device!r}", "auto, cpu or cuda", "fix the profile")
        at_least(0, {"retries": self.retries}, "fix the profile")
        if not self.stall > 0:
            raise ConfigError(f"stall {self.stall:g}", "seconds, above 0", "fix the profile")

    @property
    def pools(self) -> dict[str, Pool]:
        """The actor pools of the layout, in the order of the walk."""
        if self.layout == "whole":
            return {"decode_vision": self.decode_vision, "whole": self.whole}
        names = ("decode_vision", "vision", "language", "pixel")
        return {name: getattr(self, name) for name in names}

    @property
    def grounding(self) -> Pool:
        """The pool whose actors ask for grounding frames."""
        return self.whole if self.layout == "whole" else self.pixel

    def needs(self) -> dict[str, float]:
        """The least that lets every stage run: all fewest actors, and a decoder for each that grounds."""
        pools = self.pools.values()
        return {
            "CPU": sum(pool.actors[0] * pool.cpus for pool in pools) + self.grounding.actors[0] * self.decode_pixel.cpus,
            "GPU": sum(pool.actors[0] * pool.gpus for pool in pools),
            "memory": GIB
            * (sum(pool.actors[0] * pool.memory for pool in pools) + self.grounding.actors[0] * self.decode_pixel.memory),
        }

    def most(self) -> float:
        """CPUs of all actors when every pool is full, with the decoders of those that ground."""
        pools = sum(pool.actors[1] * pool.cpus for pool in self.pools.values())
        return pools + self.grounding.actors[1] * self.decode_pixel.cpus

    def lacks(self, got: str, expected: str, fix: str) -> None:
        """ConfigError for what the cluster has not got. An elastic one may get it: this is told at once, and what never comes ends
        the job after ``stall``."""
        if not self.elastic:
            raise ConfigError(got, expected, fix)
        log.warning("waiting for nodes, for at most %g s: got %s; expected %s; %s", self.stall, got, expected, fix)

    def check(self, has: Mapping[str, float]) -> None:
        """ConfigError, with the fix, for a profile that this cluster cannot run or that could starve itself: full pools on all CPUs
        leave none for the decoder of an actor that grounds, which would wait for ever (ray issue 44687). An
        elastic cluster need not have it all yet."""
        for name, needed in self.needs().items():
            if needed > has.get(name, 0.0) + 1e-9:
                self.lacks(
                    f"profile {self.name}, which needs {_amount(name, needed)}, on a Ray with {_amount(name, has.get(name, 0.0))}",
                    "at least what its fewest actors and their decoders need",
                    f"take a smaller profile, lower `{'cpus' if name == 'CPU' else 'gpus' if name == 'GPU' else 'memory'}`, "
                    "or add nodes",
                )
        if not self.elastic and self.most() > has.get("CPU", 0.0) + 1e-9:
            raise ConfigError(
                f"profile {self.name}, whose actors may take {self.most():g} of {has.get('CPU', 0.0):g} CPUs",
                "room for all of them, decoders of grounding frames included",
                "lower the second number of `actors`, or `cpus`",
            )


def load_profile(name: str) -> Profile:
    """A named profile or a YAML file. ConfigError for an unknown name or key."""
    return profile(Profile, "ray_jobs.annotate", name)


def _asked(cpus: float, memory: float, labels: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {"num_cpus": cpus}
    asked |= {"memory": int(memory * GIB)} if memory else {}
    return asked | ({"label_selector": dict(labels)} if labels else {})


def _amount(name: str, value: float) -> str:
    return f"{value / GIB:.1f} GiB" if name == "memory" else f"{value:g} {name}s"
