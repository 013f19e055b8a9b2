"""Which precision a run computes in: what its hardware has decides, and all ranks alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ray_jobs.train import precision
from ray_jobs.train.loop import Alone
from ray_jobs.train.precision import settled, widened
from ray_jobs.train.recipes import Recipe

CPU = torch.device("cpu")


class Several(Alone):
    """One rank of three, of which the others can do as told."""

    world = 3

    def __init__(self, others: int) -> None:
        self.others = others

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor + self.others


@pytest.mark.parametrize(("mine", "others", "chosen"), [(True, 2, "autocast"), (True, 1, "fp32"), (False, 2, "fp32")])
def test_auto_is_bfloat16_where_all_ranks_have_it(
    lines_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, mine: bool, others: int, chosen: str
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: mine)
    assert settled(lines_recipe("precision=auto"), CPU, Several(others)).precision == chosen


@pytest.mark.parametrize("given", ["fp32", "autocast"])
def test_what_is_asked_for_stays(lines_recipe: Callable[..., Recipe], given: str) -> None:
    recipe = lines_recipe(f"precision={given}")
    assert settled(recipe, CPU, Several(0)) is recipe


@pytest.mark.parametrize("there", [True, False])
def test_muon_computes_in_float32_where_bfloat16_is_emulated(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """An orthogonal update of length ``lr`` comes out either way; in float32 it is the exact one."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: there)
    given = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    weight = nn.Parameter(torch.zeros(8, 8))
    weight.grad = given.clone()
    with widened(CPU):
        torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
    update = -weight.detach()
    assert (update == update.bfloat16().float()).all() == there
    exact = _orthogonalised(given)
    assert torch.allclose(update, exact, atol=0.05 if there else 1e-5)
    assert (weight.grad == given).all()


def _orthogonalised(matrix: Tensor) -> Tensor:
    """Five steps of Newton and Schulz with Muon's coefficients (Jordan, 2024), in float64."""
    x = matrix.double()
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.float()
