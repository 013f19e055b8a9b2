from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ray_jobs.train.engine import Optimisers, PlainEngine, groups, hidden_matrices, learning_rate
from ray_jobs.train.precision import autocast
from ray_jobs.train.recipes import Group, Optimiser, Recipe
from vglamm.errors import CheckpointError, ConfigError

CPU = torch.device("cpu")


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, batch: torch.Tensor, totals: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.b(self.a(batch)).square().sum() / totals[0]}


def test_the_rate_rises_then_falls() -> None:
    linear = Optimiser(warmup=4, decay="linear", final=0.1)
    shares = [learning_rate(linear, 14, number) for number in range(15)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[9] == pytest.approx(0.55)
    assert shares[14] == pytest.approx(0.1)
    assert learning_rate(Optimiser(warmup=0, decay="cosine"), 10, 5) == pytest.approx(0.5)
    assert learning_rate(Optimiser(warmup=0, decay="none"), 10, 9) == 1.0


def test_groups_by_pattern_and_by_dimension() -> None:
    found = groups(Two(), Optimiser(lr=1.0, weight_decay=0.1, groups=(Group(r"a\..*", 0.5, 0.2),)))
    told = {(g["lr"], g["weight_decay"], tuple(g["params"][0].shape)) for g in found}
    assert told == {(0.5, 0.2, (2, 2)), (0.5, 0.0, (2,)), (1.0, 0.1, (2, 2)), (1.0, 0.0, (2,))}
    with pytest.raises(ConfigError, match="match nothing trained"):
        groups(Two(), Optimiser(groups=(Group("c", 0.5),)))


def test_a_step_follows_the_schedule_and_clips(lines_recipe: Callable[..., Recipe]) -> None:
    module, batch = Two(), torch.ones(3, 2)
    engine = PlainEngine(module, lines_recipe("optimiser.warmup=4", "optimiser.lr=1.0", "optimiser.clip=1e-9"), CPU)
    engine.backward(engine.forward(batch, torch.ones(1))["loss"])
    expected = torch.cat([p.grad.flatten() for p in module.parameters()]).norm()
    assert engine.step(1) == pytest.approx(float(expected), rel=1e-5)
    assert engine.optimiser.param_groups[0]["lr"] == 0.5
    assert all(p.grad is None for p in module.parameters())


def test_muon_trains_what_lies_between_hidden_states() -> None:
    module = nn.ModuleDict(
        {"heads": nn.Linear(2, 2), "inner": nn.Linear(2, 2), "lm_head": nn.Linear(2, 2), "words": nn.Embedding(3, 2)}
    )
    assert set(hidden_matrices(module)) == {"inner.weight"}
    both = Optimisers(module, Optimiser(lr=1.0, muon=0.5))
    adam, muon = both.parts
    shapes = [[tuple(p.shape) for group in o.param_groups for p in group["params"]] for o in (adam, muon)]
    assert sorted(shapes[0]) == [(2,), (2,), (2,), (2, 2), (2, 2), (3, 2)]
    assert shapes[1] == [(2, 2)]
    assert {group["lr"] for group in muon.param_groups} == {0.5}
    assert [len(group["params"]) for group in both.param_groups] == [6, 1]
    assert len(Optimisers(module, Optimiser()).parts) == 1


@pytest.mark.parametrize("muon", [0.0, 0.1])
def test_state_comes_back(lines_recipe: Callable[..., Recipe], tmp_path: Path, muon: float) -> None:
    recipe, batch = lines_recipe(f"optimiser.muon={muon}"), torch.randn(3, 2)

    def stepped(engine: PlainEngine, numbers: range) -> None:
        for number in numbers:
            engine.backward(engine.forward(batch, torch.ones(1))["loss"])
            engine.step(number)

    whole, first, second = Two(), Two(), Two()
    first.load_state_dict(whole.state_dict())
    stepped(PlainEngine(whole, recipe, CPU), range(6))
    engine = PlainEngine(first, recipe, CPU)
    stepped(engine, range(3))
    engine.save(tmp_path)
    second.load_state_dict(first.state_dict())
    engine = PlainEngine(second, recipe, CPU)
    engine.load(tmp_path)
    stepped(engine, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_state_of_another_run_is_refused(lines_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    engine = PlainEngine(Two(), lines_recipe(), CPU)
    with pytest.raises(CheckpointError, match=r"optimiser\.safetensors"):
        engine.load(tmp_path)
    engine.save(tmp_path)
    other = Two()
    other.a.requires_grad_(False)
    with pytest.raises(CheckpointError, match="keep `train`"):
        PlainEngine(other, lines_recipe(), CPU).load(tmp_path)


def test_bf16_weights_need_deepspeed(lines_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ConfigError, match="autocast"):
        PlainEngine(Two(), lines_recipe("precision=bf16", "zero=2"), CPU)


def test_autocast_leaves_attention_in_float32() -> None:
    seen: list[torch.dtype] = []

    def watch(query: torch.Tensor) -> torch.Tensor:
        out = nn.functional.scaled_dot_product_attention(query, query, query)
        seen.append(out.dtype)
        return out

    query, layer = torch.randn(1, 1, 4, 8), nn.Linear(8, 8)
    with autocast(CPU):
        assert layer(query).dtype == torch.bfloat16
        out = watch(layer(query))
    assert seen == [torch.float32]
    out.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
