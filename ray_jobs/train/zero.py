"""The engine of many ranks: DeepSpeed ZeRO (Rajbhandari et al., arXiv 1910.02054), stage 0 to 3. Imported on workers only."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import Tensor, nn

from ray_jobs.train.engine import Optimisers, Terms, adamw, learning_rate
from ray_jobs.train.moments import FIRST, MASTER, SECOND, Moments, write_moments
from ray_jobs.train.precision import exact_attention
from ray_jobs.train.recipes import Recipe
from vglamm.errors import CheckpointError


def settings(recipe: Recipe) -> dict[str, Any]:
    """DeepSpeed's config. Rates are set by the engine at each step; what DeepSpeed prints is turned off."""
    return {
        "train_micro_batch_size_per_gpu": recipe.batch.per_worker,
        "gradient_accumulation_steps": recipe.batch.accumulation,
        "gradient_clipping": recipe.optimiser.clip if recipe.zero else 0.0,  # at stage 0 it clips without telling the norm
        "zero_optimization": {"stage": recipe.zero},
        "bf16": {"enabled": recipe.precision == "bf16"},
        "torch_autocast": {"enabled": recipe.precision == "autocast", "dtype": "bfloat16"},
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }


class ZeroEngine:
    """``Engine`` over ``deepspeed.initialize``. DeepSpeed averages over ranks and micro-batches; losses here are shares of a global
    sum, so each is multiplied by both numbers."""

    def __init__(self, objective: nn.Module, recipe: Recipe, device: torch.device) -> None:
        self.objective, self.recipe, self.device = objective, recipe, device
        optimiser = adamw(objective, recipe.optimiser) if recipe.zero else Optimisers(objective, recipe.optimiser)
        self.peaks = [group["lr"] for group in optimiser.param_groups]
        self.named = {name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad}
        exact = {name: buffer.clone() for name, buffer in objective.named_buffers()}
        self.engine, self.optimiser, _, _ = deepspeed.initialize(
            model=objective, optimizer=optimiser, config=settings(recipe), dist_init_required=False
        )
        for name, buffer in objective.named_buffers():
            buffer.data = exact[name]  # bfloat16 is for weights: means and frequencies of position codes stay exact
        if recipe.zero:
            self.inner = self.optimiser.optimizer
            self._start_state()
        self.before = 0  # updates made before this process
        self.share = float(dist.get_world_size() * recipe.batch.accumulation)
        self.waiting = False

    def forward(self, batch: Any, totals: Tensor) -> Terms:
        if self.waiting:  # the micro-batch before was not the step's last
            self.engine.step()
        with exact_attention(self.device) if self.recipe.precision == "autocast" else nullcontext():  # autocast is DeepSpeed's
            terms: Terms = self.engine(batch, totals)
        return terms

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss * self.share)
        self.waiting = True

    def step(self, number: int) -> float:
        clip, norm = self.recipe.optimiser.clip or math.inf, None
        if self.recipe.zero == 0:
            norm = nn.utils.clip_grad_norm_(self.named.values(), clip)
        share = learning_rate(self.recipe.optimiser, self.recipe.steps, number)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        self.engine.step()
        self.waiting = False
        return float(norm if norm is not None else self.engine.get_global_grad_norm())

    def weights(self) -> dict[str, Tensor] | None:
        if self.recipe.zero < 3:
            return self.objective.state_dict() if dist.get_rank() == 0 else None
        state = dict(self.objective.state_dict())
        for name, parameter in self.objective.named_parameters(remove_duplicate=False):
            with deepspeed.zero.GatheredParameters([parameter]):  # one at a time: a rank need not hold the whole model twice
                if dist.get_rank() == 0:
                    state[name] = parameter.detach().cpu().clone()
        return state if dist.get_rank() == 0 else None

    def save(self, folder: Path) -> None:
        if self.recipe.zero == 0:
            if dist.get_rank() == 0:
                self.optimiser.save(folder, self.named)
            return
        state: dict[str, dict[str, Tensor]] = {}
        for kind in self.kinds:
            whole = {name: self._whole(parameter, kind) for name, parameter in self.named.items()}
            state[kind] = {name: tensor for name, tensor in whole.items() if tensor is not None and dist.get_rank() == 0}
        if dist.get_rank() == 0:
            write_moments(folder, state, dict.fromkeys(self.named, int(self.engine.global_steps) + self.before), self.named)

    def load(self, folder: Path) -> None:
        if self.recipe.zero == 0:
            self.optimiser.load(folder, self.named)
            return
        moments = Moments(folder, self.named)
        half = [name for name in self.named if moments.get(FIRST, name) is not None and moments.get(SECOND, name) is None]
        if half:
            got = f"{len(half)} tensors that Muon trained ({', '.join(half[:3])}), at ZeRO {self.recipe.zero}"
            raise CheckpointError(got, "moments of AdamW", "keep zero 0, or start a run of another name with `init`")
        self.before = max(moments.steps.values(), default=0)
        for flat in self._flats():
            self.inner.state[flat]["step"].fill_(self.before)
        for kind in self.kinds:
            for name, parameter in self.named.items():
                found = moments.get(kind, name)
                if found is not None:
                    self._set_whole(parameter, kind, found.to(self.device, torch.float32))

    @property
    def kinds(self) -> tuple[str, ...]:
        return (FIRST, SECOND, MASTER) if self.recipe.precision == "bf16" else (FIRST, SECOND)

    def _flats(self) -> list[Tensor]:
        """What AdamW updates: this rank's flat shards."""
        if self.recipe.zero == 3:
            return list(self.optimiser.fp32_partitioned_groups_flat)
        return [parameter for group in self.inner.param_groups for parameter in group["params"]]

    def _start_state(self) -> None:
        """AdamW makes its state in its first step. Here it is there before: to be filled by ``load``, and because DeepSpeed 0.19
        ties shards of it to parameters after the first group's step, when other groups have none yet."""
        for flat in self._flats():
            fresh = {kind: torch.zeros_like(flat) for kind in (FIRST, SECOND)}
            self.inner.state[flat] = {"step": torch.tensor(0.0, device=flat.device), **fresh}
        if self.recipe.zero in (1, 2):
            self.optimiser._lazy_init_hp_params_optimizer_state()

    def _whole(self, parameter: nn.Parameter, kind: str) -> Tensor | None:
        whole = safe_get_full_fp32_param(parameter) if kind == MASTER else safe_get_full_optimizer_state(parameter, kind)
        return None if whole is None else whole.cpu()

    def _set_whole(self, parameter: nn.Parameter, kind: str, value: Tensor) -> None:
        if self.recipe.zero == 3:  # the setter of whole tensors fails on shards that are padded
            size, rank = parameter.ds_tensor.numel(), dist.get_rank()
            padded = nn.functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
            mine = padded[rank * size : (rank + 1) * size]
            if kind == MASTER:
                safe_set_local_fp32_param(parameter, mine)
            else:
                safe_set_local_optimizer_state(parameter, mine, kind)
        elif kind == MASTER:
            safe_set_full_fp32_param(parameter, value)
        else:
            safe_set_full_optimizer_state(parameter, value, kind)


class Group:
    """``Ranks`` over torch.distributed (without ``report``)."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def sum(self, tensor: Tensor) -> Tensor:
        device = tensor.device
        moved = tensor.to("cuda") if dist.get_backend() == "nccl" else tensor.clone()
        dist.all_reduce(moved)
        return moved.to(device)

    def gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found
