from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from ray_jobs.train.ingest import Order, inline, micro_batches, produced
from ray_jobs.train.recipes import Batch, Recipe
from tests.unit.ray_jobs.draw import Draw
from vglamm.errors import VideoError


def test_new_ids_count_up() -> None:
    assert Order(100, None, 0).ids(7, 3) == [107, 108, 109]


def test_rounds_are_shuffled_differently_and_lose_nothing() -> None:
    order = Order(10, 6, seed=3)
    ids = order.ids(0, 18)
    rounds = [ids[i : i + 6] for i in (0, 6, 12)]
    assert all(sorted(one) == list(range(10, 16)) for one in rounds)
    assert rounds[0] != rounds[1]
    assert order.ids(4, 5) == ids[4:9]  # over the border of two rounds, and back
    assert Order(10, 6, seed=4).ids(0, 6) != rounds[0]


@pytest.mark.parametrize(("workers", "per_worker", "accumulation"), [(1, 8, 1), (1, 2, 4), (2, 4, 1), (4, 1, 2)])
def test_any_cut_sees_the_same_global_batches(
    lines_recipe: Callable[..., Recipe], workers: int, per_worker: int, accumulation: int
) -> None:
    recipe = replace(lines_recipe("steps=3", "data.count=50"), workers=workers, batch=Batch(per_worker, accumulation))
    ranks = [list(micro_batches(recipe, step=0, consumed=0, rank=rank)) for rank in range(workers)]
    seen = [
        sorted(i for batches in ranks for batch in batches[step * accumulation : (step + 1) * accumulation] for i in batch)
        for step in range(3)
    ]
    order = Order(0, 50, recipe.seed)
    assert seen == [sorted(order.ids(8 * step, 8)) for step in range(3)]


def test_a_resumed_plan_is_the_rest_of_the_whole(lines_recipe: Callable[..., Recipe]) -> None:
    recipe = lines_recipe("steps=6", "workers=2", "batch.accumulation=3")
    whole = list(micro_batches(recipe, step=0, consumed=0, rank=1))
    assert list(micro_batches(recipe, step=4, consumed=4 * recipe.global_batch, rank=1)) == whole[12:]


def test_producers_give_what_this_process_gives() -> None:
    plan = [[1, 2], [3, 4], [5, 6], [7, 8]]
    here = list(inline(Draw(4, 1.0), iter(plan)))
    there = list(produced(Draw(4, 1.0), iter(plan), producers=2, prefetch=1))
    assert [ids for ids, _ in there] == plan == [ids for ids, _ in here]
    for (_, mine), (_, theirs) in zip(here, there, strict=True):
        assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(mine, theirs, strict=True))


def test_producers_run_a_bounded_way_ahead() -> None:
    pulled: list[int] = []

    def plan() -> Iterator[list[int]]:
        for i in range(100):
            pulled.append(i)
            yield [i]

    feed = produced(Draw(4, 1.0), plan(), producers=1, prefetch=3)
    assert [ids for ids, _ in islice(feed, 5)] == [[0], [1], [2], [3], [4]]
    feed.close()
    assert len(pulled) <= 5 + 3


@dataclass(frozen=True)
class Broken:
    def __call__(self, seed: int) -> dict[str, Any]:
        raise VideoError(f"sample {seed}", "a good one", "drop it")


def test_a_sample_that_fails_is_named_across_the_process_border() -> None:
    with pytest.raises(VideoError, match="sample 41"):
        next(produced(Broken(), iter([[41]]), producers=1, prefetch=1))
