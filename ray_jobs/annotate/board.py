"""What every stage says of itself while a job runs; the driver shows it. An actor of its own, on which nothing waits."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Note:
    """One call of a stage: ``done`` videos, of which ``failed`` are given up by now, in ``seconds``; ``at``: unix time."""

    stage: str
    node: str
    pid: int
    done: int
    failed: int
    seconds: float
    at: float


@dataclass
class Tally:
    """All notes of a stage. first, last: unix times of the first and the last note."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    first: float = 0.0
    last: float = 0.0
    workers: set[tuple[str, int]] = field(default_factory=set)

    def add(self, note: Note) -> None:
        self.done += note.done
        self.failed += note.failed
        self.seconds += note.seconds
        self.first = min(self.first or note.at, note.at - note.seconds)
        self.last = max(self.last, note.at)
        self.workers.add((note.node, note.pid))


class Board:
    """Tallies by stage. beats: signs of life so far. Made a Ray actor by the driver."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.beats = 0

    def take(self, note: Note) -> None:
        self.beat()
        self.tallies.setdefault(note.stage, Tally()).add(note)

    def beat(self) -> None:
        """A call of a stage goes on, and is not done yet."""
        self.beats += 1

    def heard(self) -> int:
        return self.beats

    def read(self) -> dict[str, Tally]:
        return self.tallies
