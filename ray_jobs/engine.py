"""The optimiser of a run and an engine of one process. :mod:`ray_jobs.zero` has the engine of many, with the same interface."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ray_jobs.moments import FIRST, SECOND, Moments, write_moments
from ray_jobs.recipes import Optimiser, Recipe
from vglamm.errors import ConfigError
from vglamm.freeze import own_name, pattern_of

Terms = dict[str, Tensor]


class Engine(Protocol):
    """What the loop needs of whatever computes gradients and changes weights."""

    device: torch.device

    def forward(self, batch: Any, totals: Tensor) -> Terms:
        """The objective's terms for one micro-batch."""

    def backward(self, loss: Tensor) -> None:
        """Add a micro-batch's gradient; the sum over micro-batches and ranks is the gradient of the global loss."""

    def step(self, number: int) -> float:
        """Step ``number`` (from 0): schedule, clip, update, forget the gradients. Returns the gradient's norm before clipping."""

    def weights(self) -> dict[str, Tensor] | None:
        """Whole tensors of the objective by name on rank 0, None elsewhere. All ranks must call it."""

    def save(self, folder: Path) -> None:
        """Write the optimiser's state to a folder of rank 0. All ranks must call it."""

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""


def learning_rate(settings: Optimiser, steps: int, number: int) -> float:
    """Share of the peak learning rate at step ``number`` of ``steps`` (from 0): linear rise, then linear or half-cosine decay
    (Loshchilov and Hutter, arXiv 1608.03983, without restarts)."""
    if number < settings.warmup:
        return (number + 1) / settings.warmup
    done = (number - settings.warmup) / max(steps - settings.warmup, 1)
    if settings.decay == "none":
        return 1.0
    shape = 1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.final + (1 - settings.final) * shape


def groups(objective: nn.Module, settings: Optimiser) -> list[dict[str, Any]]:
    """Parameter groups of AdamW for what is trained: by learning rate; tensors of one dimension, which are not decayed, apart."""
    expressions = [(pattern_of(group.pattern), group) for group in settings.groups]
    unused = {group.pattern for group in settings.groups}
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        group = next((group for expression, group in expressions if expression.fullmatch(own_name(name))), None)
        rate, decay = settings.lr, settings.weight_decay
        if group is not None:
            unused.discard(group.pattern)
            rate, decay = group.lr, settings.weight_decay if group.weight_decay is None else group.weight_decay
        found.setdefault((rate, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    if unused:
        raise ConfigError(
            f"optimiser groups {sorted(unused)} that match nothing trained", "patterns of trained tensors", "correct them"
        )
    return [{"params": list(parameters), "lr": rate, "weight_decay": decay} for (rate, decay), parameters in found.items()]


def adamw(objective: nn.Module, settings: Optimiser) -> torch.optim.AdamW:
    first, second = settings.betas
    return torch.optim.AdamW(groups(objective, settings), lr=settings.lr, betas=(first, second), eps=settings.eps, fused=True)


class PlainEngine:
    """One process, plain torch: for ``--local``, for a debugger, and for the tiny model."""

    def __init__(self, objective: nn.Module, recipe: Recipe, device: torch.device) -> None:
        if recipe.precision == "bf16":
            raise ConfigError("precision=bf16 without DeepSpeed", "fp32 or autocast with --local", "add precision=autocast")
        self.objective, self.recipe, self.device = objective, recipe, device
        self.optimiser = adamw(objective, recipe.optimiser)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]
        self.named = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}

    def forward(self, batch: Any, totals: Tensor) -> Terms:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "autocast"):
            terms: Terms = self.objective(batch, totals)
        return terms

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self, number: int) -> float:
        settings = self.recipe.optimiser
        norm = float(nn.utils.clip_grad_norm_(self.named.values(), settings.clip or math.inf, foreach=True))
        share = learning_rate(settings, self.recipe.steps, number)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def weights(self) -> dict[str, Tensor]:
        return self.objective.state_dict()

    def save(self, folder: Path) -> None:
        had = {name: self.optimiser.state[p] for name, p in self.named.items() if self.optimiser.state.get(p)}
        state = {kind: {name: entry[kind] for name, entry in had.items()} for kind in (FIRST, SECOND)}
        write_moments(folder, state, {name: int(entry["step"]) for name, entry in had.items()}, self.named)

    def load(self, folder: Path) -> None:
        moments = Moments(folder, self.named)
        for name, parameter in self.named.items():
            first, second = moments.get(FIRST, name), moments.get(SECOND, name)
            if first is not None and second is not None:
                step = torch.tensor(float(moments.steps[name]), device=self.device)
                entry = {"step": step, FIRST: first.to(self.device).clone(), SECOND: second.to(self.device).clone()}
                self.optimiser.state[parameter] = entry
