"""The optimiser of a run and an engine of one process. :mod:`ray_jobs.train.zero` has that of many, with the same interface."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ray_jobs.train.moments import FIRST, SECOND, Moments, write_moments
from ray_jobs.train.precision import autocast, widened
from ray_jobs.train.recipes import Optimiser, Recipe
from vglamm.errors import ConfigError
from vglamm.freeze import own_name, pattern_of

Terms = dict[str, Tensor]
_MOMENTUM = "momentum_buffer"  # Muon's only state


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


def groups(objective: nn.Module, settings: Optimiser, *, without: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Parameter groups of AdamW for what is trained, but those names: by learning rate; tensors of one dimension, which are not
    decayed, apart."""
    expressions = [(pattern_of(group.pattern), group) for group in settings.groups]
    unused = {group.pattern for group in settings.groups}
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad or name in without:
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


def hidden_matrices(objective: nn.Module) -> dict[str, nn.Parameter]:
    """What Muon may train: trained weights of linear layers, but those that write words or the targets of auxiliary heads."""
    found = {f"{name}.weight": module.weight for name, module in objective.named_modules() if isinstance(module, nn.Linear)}
    return {
        name: weight
        for name, weight in found.items()
        if weight.requires_grad and not name.startswith("heads.") and not name.endswith("lm_head.weight")
    }


def adamw(objective: nn.Module, settings: Optimiser, *, without: frozenset[str] = frozenset()) -> torch.optim.AdamW:
    first, second = settings.betas
    given = groups(objective, settings, without=without)
    return torch.optim.AdamW(given, lr=settings.lr, betas=(first, second), eps=settings.eps, fused=True)


class Optimisers(torch.optim.Optimizer):
    """AdamW, and Muon beside it if the settings say so, as one: they share its groups and its state. DeepSpeed takes but one."""

    def __init__(self, objective: nn.Module, settings: Optimiser) -> None:
        hidden = hidden_matrices(objective) if settings.muon else {}
        self.parts: list[torch.optim.Optimizer] = [adamw(objective, settings, without=frozenset(hidden))]
        if hidden:
            how = {"weight_decay": settings.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
            self.parts.append(torch.optim.Muon(hidden.values(), lr=settings.muon, **how))
        self.muon = frozenset(hidden.values())
        self.device = next(objective.parameters()).device
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            part.state = self.state

    def step(self, closure: Any = None) -> None:
        """One update. closure: of torch's interface, not used."""
        with widened(self.device):
            for part in self.parts:
                part.step()

    def save(self, folder: Path, named: dict[str, nn.Parameter]) -> None:
        """Write the state of ``named``, by name: whole tensors, as :mod:`ray_jobs.train.moments` keeps them."""
        state: dict[str, dict[str, Tensor]] = {FIRST: {}, SECOND: {}}
        steps: dict[str, int] = {}
        for name, parameter in named.items():
            entry = self.state.get(parameter, {})
            if _MOMENTUM in entry:
                state[FIRST][name] = entry[_MOMENTUM]
            elif entry:
                state[FIRST][name], state[SECOND][name], steps[name] = entry[FIRST], entry[SECOND], int(entry["step"])
        write_moments(folder, state, steps, named)

    def load(self, folder: Path, named: dict[str, nn.Parameter]) -> None:
        """Read what ``save`` wrote. A parameter that the other of the two trained before starts without a past."""
        moments = Moments(folder, named)
        for name, parameter in named.items():
            first, second, device = moments.get(FIRST, name), moments.get(SECOND, name), parameter.device
            if first is None or (second is None) != (parameter in self.muon):
                continue
            if second is None:
                self.state[parameter] = {_MOMENTUM: first.to(device).clone()}
            else:
                step = torch.tensor(float(moments.steps[name]), device=device)
                self.state[parameter] = {"step": step, FIRST: first.to(device).clone(), SECOND: second.to(device).clone()}


class PlainEngine:
    """One process, plain torch: for ``--local``, for a debugger, and for the tiny model."""

    def __init__(self, objective: nn.Module, recipe: Recipe, device: torch.device) -> None:
        if recipe.precision == "bf16":
            raise ConfigError("precision=bf16 without DeepSpeed", "fp32, auto or autocast with --local", "add precision=auto")
        self.objective, self.recipe, self.device = objective, recipe, device
        self.optimiser = Optimisers(objective, recipe.optimiser)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]
        self.named = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}

    def forward(self, batch: Any, totals: Tensor) -> Terms:
        with autocast(self.device) if self.recipe.precision == "autocast" else nullcontext():
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
        self.optimiser.save(folder, self.named)

    def load(self, folder: Path) -> None:
        self.optimiser.load(folder, self.named)
