"""The engine of many ranks: DeepSpeed ZeRO (Rajbhandari et al., arXiv 1910.02054), stage 0 to 3. Imported on workers only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ray_jobs.engine import Terms, adamw, learning_rate
from ray_jobs.recipes import Recipe
from vglamm.errors import CheckpointError

TAG = "zero"


def settings(recipe: Recipe) -> dict[str, Any]:
    """DeepSpeed's config. Rates are set by the engine at each step; what DeepSpeed prints is turned off."""
    return {
        "train_micro_batch_size_per_gpu": recipe.batch.per_worker,
        "gradient_accumulation_steps": recipe.batch.accumulation,
        "gradient_clipping": recipe.optimiser.clip if _clips_itself(recipe) else 0.0,
        "zero_optimization": {"stage": recipe.zero},
        "bf16": {"enabled": recipe.precision == "bf16"},
        "torch_autocast": {"enabled": recipe.precision == "autocast", "dtype": "bfloat16"},
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }


def _clips_itself(recipe: Recipe) -> bool:
    """Plain float32 at stage 0 clips without telling the norm, so there it is done here."""
    return recipe.zero > 0 or recipe.precision == "bf16"


class ZeroEngine:
    """``Engine`` over ``deepspeed.initialize``. DeepSpeed averages over ranks and micro-batches; losses here are shares of a global
    sum, so each is multiplied by both numbers."""

    kind = "deepspeed"

    def __init__(self, objective: nn.Module, recipe: Recipe, device: torch.device) -> None:
        self.objective, self.recipe, self.device = objective, recipe, device
        optimiser = adamw(objective, recipe.optimiser)
        self.peaks = [group["lr"] for group in optimiser.param_groups]
        self.trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self.engine, self.optimiser, _, _ = deepspeed.initialize(
            model=objective, optimizer=optimiser, config=settings(recipe), dist_init_required=False
        )
        self.share = float(dist.get_world_size() * recipe.batch.accumulation)
        self.waiting = False

    def forward(self, batch: Any, totals: Tensor) -> Terms:
        if self.waiting:  # the micro-batch before was not the step's last
            self.engine.step()
        terms: Terms = self.engine(batch, totals)
        return terms

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss * self.share)
        self.waiting = True

    def step(self, number: int) -> float:
        clip, norm = self.recipe.optimiser.clip or math.inf, None
        if not _clips_itself(self.recipe):
            norm = nn.utils.clip_grad_norm_(self.trained, clip)
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
        (folder / TAG).mkdir(parents=True, exist_ok=True)
        self.engine.save_checkpoint(str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=True)

    def load(self, folder: Path) -> None:
        """ZeRO's shards are pickles: only a run's own folder is ever read."""
        path, _ = self.engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=False, load_lr_scheduler_states=False)
        if path is None:
            raise CheckpointError(f"{folder} without ZeRO's shards", "a checkpoint of a run on Ray", "resume it as it was started")


class Group:
    """``Ranks`` over torch.distributed (without ``report``)."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def sum(self, tensor: Tensor) -> Tensor:
        device = tensor.device
        moved = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
        dist.all_reduce(moved)
        return moved.to(device)

    def gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found
