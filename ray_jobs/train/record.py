"""What a run leaves behind, written in one place (in the process of ``--local``, else in Ray Train's controller).

``steps.jsonl``: losses, gradient norm, learning rate, times of each step. ``samples.jsonl``: sample ids by step and rank.
``validation.jsonl``. ``pictures/``. A step that a resumed run repeats is written again: the last line counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray_jobs.train.recipes import Recipe


class Record:
    """The files of a run's folder. Reports come as one list with an entry for each rank."""

    def __init__(self, recipe: Recipe) -> None:
        self.folder = recipe.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("steps", "samples", "validation"):
            _mend(self.folder / f"{name}.jsonl")

    def take(self, reports: list[dict[str, Any]]) -> None:
        first = reports[0]
        self._append("steps", first["steps"])
        ranks = [(step, report["rank"], ids) for report in reports for step, ids in report["samples"]]
        self._append("samples", [{"step": step, "rank": rank, "ids": ids} for step, rank, ids in sorted(ranks)])
        if "validation" in first:
            self._append("validation", [{"step": first["step"], **first["validation"]}])
            self._pictures(first["step"], first["pictures"])

    def _append(self, name: str, lines: list[dict[str, Any]]) -> None:
        if lines:
            with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))

    def _pictures(self, step: int, pictures: dict[str, Any]) -> None:
        from PIL import Image

        for name, pixels in pictures.items():
            path = self.folder / "pictures" / f"{step:07d}-{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)


def _mend(path: Path) -> None:
    """Cut off a last line that a run which was killed, or a full disk, left half written: the next would go on in it."""
    if path.is_file() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(data.rfind(b"\n") + 1)


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of ``{name}.jsonl`` by (step, rank), the last one of each; a half-written last line is left out."""
    path = folder / f"{name}.jsonl"
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if text.endswith("}"):
            line = json.loads(text)
            found[line["step"], line.get("rank", 0)] = line
    return [found[key] for key in sorted(found)]


class Tail:
    """The lines that ``{name}.jsonl`` gains from now on."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.offset = self.path.stat().st_size if self.path.is_file() else 0

    def new(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
