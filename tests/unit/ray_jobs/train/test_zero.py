"""DeepSpeed's engine at every stage, in one process: it trains as the plain engine does, and its state comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ray_jobs.train.engine import Engine, PlainEngine
from ray_jobs.train.recipes import Recipe
from vglamm.errors import CheckpointError

CPU = torch.device("cpu")
Make = Callable[..., Recipe]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:deepspeed"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch"),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A process group of one, and the module that needs it."""
    import torch.distributed as dist

    monkey = pytest.MonkeyPatch()
    monkey.setenv("LOCAL_RANK", "0")  # as Ray Train sets it
    dist.init_process_group("gloo", init_method=f"file://{tmp_path_factory.mktemp('group') / 'store'}", rank=0, world_size=1)
    from ray_jobs.train import zero

    yield zero
    dist.destroy_process_group()
    monkey.undo()


class Small(nn.Module):
    """Odd sizes, so that shards are padded; a frozen layer; a buffer that bfloat16 would round."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.a, self.b = nn.Linear(7, 5), nn.Linear(5, 3), nn.Linear(3, 1)
        self.frozen.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(1.2345678))

    def forward(self, batch: torch.Tensor, totals: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.frozen((batch - self.mean).to(self.frozen.weight.dtype))
        return {"loss": (self.b(self.a(x).relu()).float() - 1).square().sum() / totals[0]}


def stepped(engine: Engine, numbers: range, *, pieces: int = 2) -> list[float]:
    """Losses of steps on batches that depend on the step alone, in ``pieces`` micro-batches."""
    losses = []
    for number in numbers:
        batch = torch.randn(8, 7, generator=torch.Generator().manual_seed(number))
        total = torch.tensor([8.0])
        parts = []
        for part in batch.chunk(pieces):
            loss = engine.forward(part, total)["loss"]
            engine.backward(loss)
            parts.append(float(loss.detach()))
        engine.step(number)
        losses.append(sum(parts))
    return losses


def recipe_of(make: Make, *overrides: str) -> Recipe:
    return make(
        "optimiser.lr=0.05",
        "optimiser.clip=0.5",
        "optimiser.weight_decay=0.1",
        "batch={per_worker: 4, accumulation: 2}",
        *overrides,
    )


@pytest.mark.parametrize(("stage", "muon"), [(0, 0.0), (0, 0.05), (1, 0.0), (2, 0.0), (3, 0.0)])
def test_each_stage_trains_as_plain_torch_and_its_state_comes_back(
    alone: Any, lines_recipe: Make, tmp_path: Path, stage: int, muon: float
) -> None:
    recipe = recipe_of(lines_recipe, f"zero={stage}", f"optimiser.muon={muon}")
    expected = stepped(PlainEngine(Small(), recipe, CPU), range(8))
    assert expected[7] < expected[0]
    first = Small()
    engine = alone.ZeroEngine(first, recipe, CPU)
    found = stepped(engine, range(4))
    engine.save(tmp_path)
    weights = engine.weights()
    second = Small()
    second.load_state_dict(weights)
    engine = alone.ZeroEngine(second, recipe, CPU)
    engine.load(tmp_path)
    found += stepped(engine, range(4, 6))
    engine.save(tmp_path)
    plain = Small()  # and on without DeepSpeed
    plain.load_state_dict(engine.weights())
    last = PlainEngine(plain, recipe, CPU)
    last.load(tmp_path)
    found += stepped(last, range(6, 8))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_float32_masters_of_bfloat16_weights_come_back(alone: Any, lines_recipe: Make, tmp_path: Path, stage: int) -> None:
    recipe = recipe_of(lines_recipe, f"zero={stage}", "precision=bf16")
    whole = stepped(alone.ZeroEngine(Small(), recipe, CPU), range(6))
    engine = alone.ZeroEngine(Small(), recipe, CPU)
    found = stepped(engine, range(3))
    engine.save(tmp_path)
    weights = engine.weights()
    assert weights["a.weight"].dtype == torch.bfloat16
    assert float(weights["mean"]) == float(torch.tensor(1.2345678))
    second = Small()
    second.load_state_dict(weights)
    engine = alone.ZeroEngine(second, recipe, CPU)
    engine.load(tmp_path)
    assert found + stepped(engine, range(3, 6)) == pytest.approx(whole, abs=1e-6)


def test_moments_of_muon_are_not_taken_for_those_of_adam(alone: Any, lines_recipe: Make, tmp_path: Path) -> None:
    plain = PlainEngine(Small(), recipe_of(lines_recipe, "optimiser.muon=0.05"), CPU)
    stepped(plain, range(2))
    plain.save(tmp_path)
    engine = alone.ZeroEngine(Small(), recipe_of(lines_recipe, "zero=2"), CPU)
    with pytest.raises(CheckpointError, match="Muon"):
        engine.load(tmp_path)
