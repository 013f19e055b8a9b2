"""What each part of the endpoint gets of the cluster: one YAML file, or a named one of ``profile_files``. No torch, no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vglamm.config import at_least, profile
from vglamm.errors import ConfigError

LAYOUTS = ("split", "whole")
SPLIT = ("decode", "vision", "language", "pixel")
GIB = 1024**3


@dataclass(frozen=True)
class Part:
    """One deployment. Its work is counted in its own unit: frames for decode and vision, tokens (of prompts and answers) for
    language, frames x objects for pixel, requests for whole.

    replicas: fewest (0: none while nobody asks) and most. cpus, gpus: of each, fractions allowed. memory: GiB of each that Ray sets
    aside (0: not counted). labels: of nodes that it may run on. threads: of torch in each. ongoing: requests in each at most.
    queued: requests that wait at most, of each that sends; more are refused. batch: work that is done together at most (of whole:
    tokens that its answers in flight may need). wait: seconds to fill a batch. rows: answers that are written together at most.
    load: work of each from which on another replica is wanted; it counts what is at work and what waits. up, down: seconds that a
    want must last. drain: seconds that a replica which is to end may go on with what it has. check: seconds without work
    after which a replica is tried on a canned input; whether it lives is looked at more often. nice: how far it stands back behind
    others on its machine (0 to 19, the system's nice): where parts share cores, all behind pixel, which has the most to do.
    """

    replicas: tuple[int, ...] = (1, 1)
    cpus: float = 0.25
    gpus: float = 0.0
    memory: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    ongoing: int = 16
    queued: int = 64
    batch: int = 64
    wait: float = 0.005
    rows: int = 8
    load: float = 256.0
    up: float = 10.0
    down: float = 120.0
    drain: float = 60.0
    check: float = 10.0
    nice: int = 0

    def __post_init__(self) -> None:
        if len(self.replicas) != 2 or not 0 <= self.replicas[0] <= self.replicas[1] or self.replicas[1] < 1:
            raise ConfigError(f"replicas {list(self.replicas)}", "[fewest, most], most at least 1", "fix the profile")
        counts = {name: getattr(self, name) for name in ("threads", "ongoing", "queued", "batch", "rows")}
        at_least(1, counts, "fix the profile")
        if not 0 <= self.nice <= 19:
            raise ConfigError(f"nice {self.nice}", "0 to 19", "fix the profile")
        amounts = ("cpus", "gpus", "memory", "wait", "up", "down", "drain", "check", "load")
        at_least(0, {name: getattr(self, name) for name in amounts}, "fix the profile")
        if not self.load:
            raise ConfigError("load=0", "work above 0", "fix the profile")

    @property
    def resources(self) -> dict[str, Any]:
        """``ray_actor_options`` of each replica."""
        asked: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        asked |= {"memory": int(self.memory * GIB)} if self.memory else {}
        return asked | ({"label_selector": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Profile:
    """layout: "split" (a deployment for each part) or "whole" (one whose replicas hold all three parts and decode). device: "auto"
    (CUDA where a replica has a GPU that torch can use, else the CPU), "cpu" or "cuda". dtype: of the weights, None as stored.
    quantise: of the language model. window: grounding frames that are fetched at once. sessions, session_bytes, session_seconds:
    how many keep their visual tokens, how large all of these together, and how long since one was last used, at each replica that
    keeps some. retry_after: seconds that a refused client is told to wait."""

    name: str
    layout: str = "split"
    ingress: Part = Part(cpus=0.25, ongoing=64, queued=64)
    decode: Part = Part()
    vision: Part = Part()
    language: Part = Part()
    pixel: Part = Part()
    whole: Part = Part()
    device: str = "auto"
    dtype: str | None = None
    quantise: str | None = None
    window: int = 64
    sessions: int = 256
    session_bytes: int = GIB
    session_seconds: float = 1800.0
    retry_after: float = 2.0

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ConfigError(f"layout {self.layout!r}", f"one of {', '.join(LAYOUTS)}", "fix the profile")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device {self.device!r}", "auto, cpu or cuda", "fix the profile")
        at_least(1, {"window": self.window, "sessions": self.sessions}, "fix the profile")
        amounts = ("session_bytes", "session_seconds", "retry_after")
        at_least(0, {name: getattr(self, name) for name in amounts}, "fix the profile")
        if self.ingress.replicas[0] < 1:
            raise ConfigError(
                "an ingress that scales to none", "at least 1 replica: somebody must take requests", "fix the profile"
            )

    @property
    def parts(self) -> dict[str, Part]:
        """The deployments of the layout, the ingress aside, in the order of the walk."""
        return {name: getattr(self, name) for name in (("whole",) if self.layout == "whole" else SPLIT)}

    def needs(self) -> dict[str, float]:
        """The least that lets every deployment run."""
        parts = (self.ingress, *self.parts.values())
        return {
            "CPU": sum(max(part.replicas[0], 1) * part.cpus for part in parts),
            "GPU": sum(max(part.replicas[0], 1) * part.gpus for part in parts),
            "memory": GIB * sum(max(part.replicas[0], 1) * part.memory for part in parts),
        }

    def check(self, has: Mapping[str, float]) -> None:
        """ConfigError, with the fix, for a profile that this cluster cannot run: its replicas would wait for ever."""
        for name, needed in self.needs().items():
            if needed > has.get(name, 0.0) + 1e-9:
                amounts = [
                    f"{value / GIB:.1f} GiB" if name == "memory" else f"{value:g} {name}s" for value in (needed, has.get(name, 0.0))
                ]
                raise ConfigError(
                    f"profile {self.name}, which needs {amounts[0]}, on a Ray with {amounts[1]}",
                    "at least one replica of each part",
                    "take a smaller profile, lower what its parts ask for, or add nodes",
                )


def load_profile(name: str) -> Profile:
    """A named profile or a YAML file. ConfigError for an unknown name or key."""
    return profile(Profile, "serve", name)
