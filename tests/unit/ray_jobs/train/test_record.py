from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ray_jobs.train.recipes import Recipe
from ray_jobs.train.record import Record, Tail, read


def report(rank: int, steps: range, **more: Any) -> dict[str, Any]:
    lines = [{"step": step, "loss": float(step)} for step in steps] if rank == 0 else []
    return {"rank": rank, "step": steps.stop, "steps": lines, "samples": [(step, [10 * step + rank]) for step in steps], **more}


def test_every_rank_s_samples_and_rank_0_s_losses_are_kept(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe()
    record = Record(recipe)
    checked = {"validation": {"iou": 0.5}, "pictures": {"a": np.zeros((2, 2, 3), np.uint8)}}
    record.take([report(0, range(2), **checked), report(1, range(2))])
    Record(recipe).take([report(0, range(1, 3)), report(1, range(1, 3))])  # resumed at step 1
    assert read(recipe.folder, "steps") == [{"step": s, "loss": float(s)} for s in range(3)]
    assert read(recipe.folder, "samples") == [{"step": s, "rank": r, "ids": [10 * s + r]} for s in range(3) for r in range(2)]
    assert read(recipe.folder, "validation") == [{"step": 2, "iou": 0.5}]
    assert [path.name for path in (recipe.folder / "pictures").iterdir()] == ["0000002-a.png"]


def test_a_line_that_was_left_half_written_does_not_spoil_the_next(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe()
    Record(recipe).take([report(0, range(2))])
    with (recipe.folder / "steps.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    tail = Tail(recipe.folder, "samples")
    Record(recipe).take([report(0, range(2, 4))])
    assert [line["step"] for line in read(recipe.folder, "steps")] == [0, 1, 2, 3]
    assert [line["step"] for line in tail.new()] == [2, 3]


def test_a_tail_gives_whole_new_lines_once(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe()
    record = Record(recipe)
    record.take([report(0, range(2))])
    tail = Tail(recipe.folder, "steps")
    assert tail.new() == []
    record.take([report(0, range(2, 4))])
    with (recipe.folder / "steps.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in tail.new()] == [2, 3]
    assert tail.new() == []
    with (recipe.folder / "steps.jsonl").open("a") as file:
        file.write('ss": 4.0}\n')
    assert tail.new() == [{"step": 4, "loss": 4.0}]
    assert Tail(recipe.folder, "none").new() == []
