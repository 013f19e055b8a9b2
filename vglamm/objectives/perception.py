"""Vision alone: both towers and adapters learn to write the token codes of :mod:`vglamm.data.world.codes`, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vglamm.config import ModelConfig
from vglamm.data.world import make_scene
from vglamm.data.world.codes import NAME, block, labels, name_codes, owners, rotation, token_codes
from vglamm.media import resize
from vglamm.model import VideoGLaMM
from vglamm.objectives import dense
from vglamm.objectives.starts import start_grouping

Item = dict[str, NDArray[Any]]
ATTRIBUTES = ("colour", "shape", "texture", "name", "motion")
SHARPNESS = 8.0  # of the softmax over the known codes of an attribute


@dataclass(frozen=True)
class PerceptionPreparer:
    """seed -> frames of both towers, the owner of each patch, and every object's raw codes and labels.

    looks: frames for the spatial tower; the temporal one gets one chunk. Neighbouring frames teach little new. easy_share: share
    of easy scenes; easy_before: all scenes of seeds below are easy, so that a run begins with what is plainly seen. dense: also
    outlines and drifts (:mod:`vglamm.objectives.dense`).
    """

    config: ModelConfig
    difficulty: str = "normal"
    level: str | None = None
    easy_share: float = 0.0
    easy_before: int = 0
    looks: int = 2
    dense: bool = False

    def __call__(self, seed: int) -> Item:
        rng = np.random.default_rng((seed, 77))
        difficulty = "easy" if rng.random() < self.easy_share or seed < self.easy_before else self.difficulty
        scene = make_scene(seed, difficulty=difficulty, level=self.level)
        vision, size = self.config.vision, scene.id_map.shape[1]
        chunk = vision.temporal.chunk
        part = int(rng.integers(len(scene.llm_frames) // chunk)) * chunk
        moves = scene.llm_frames[part : part + chunk]
        looks = np.sort(rng.choice(scene.llm_frames, self.looks, replace=False))
        extra = dense.targets(scene, vision, looks, moves) if self.dense else {}
        return extra | {
            "spatial": resize.spatial(scene.frames[looks], vision.spatial.image_size),
            "temporal": resize.temporal(scene.frames[moves], vision.temporal.image_size),
            "spatial_owner": owners(scene.id_map[looks], vision.spatial.grid),
            "temporal_owner": owners(scene.id_map[moves], vision.temporal.grid),
            "spatial_code": np.stack([token_codes(o, size, temporal=False)[looks] for o in scene.objects]),
            "temporal_code": np.stack([token_codes(o, size, temporal=True)[moves] for o in scene.objects]),
            "labels": np.array([[getattr(labels(o), name) for name in ATTRIBUTES] for o in scene.objects]),
        }


class Perception(nn.Module):
    """Loss: squared error of every patch's token against its code (background: zero), and cross-entropy of each attribute as read
    off the token by its distance to the known codes. Its only weights are the heads of ``dense``. fresh: the towers know nothing
    yet and begin as :func:`start_grouping` says."""

    summed = ("spatial_error", "spatial_background", "temporal_error", "temporal_background")
    turn: Tensor
    names: Tensor

    def __init__(self, model: VideoGLaMM, tokenizer: Any, *, fresh: bool = True, **data: Any) -> None:
        super().__init__()
        self.model = model
        if fresh:
            start_grouping(model)
        self.settings = PerceptionPreparer(model.config, **data)
        self.heads = dense.heads(model.config.vision) if self.settings.dense else nn.ModuleDict()
        self.register_buffer("turn", torch.from_numpy(rotation(model.config.vision.adapter_width)), persistent=False)
        self.register_buffer("names", torch.from_numpy(name_codes(NAME)), persistent=False)

    def preparer(self) -> PerceptionPreparer:
        return self.settings

    @staticmethod
    def collate(items: list[Item]) -> dict[str, Any]:
        batch: dict[str, Any] = {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in ("spatial", "temporal")}
        for kind in ("spatial", "temporal"):
            codes, owner, marks = [], [], []
            for item in items:
                _, frames, raw = item[f"{kind}_code"].shape
                # row 0 is the background: no code, no labels
                table = np.concatenate([np.zeros((1, frames, raw), np.float32), item[f"{kind}_code"]])
                codes.append(table[item[f"{kind}_owner"], np.arange(frames)[:, None]])
                padded = np.concatenate([np.full((1, len(ATTRIBUTES)), -1), item["labels"]])
                owner.append(item[f"{kind}_owner"] > 0)
                marks.append(padded[item[f"{kind}_owner"]])
            batch[f"{kind}_target"] = torch.from_numpy(np.stack(codes))
            batch[f"{kind}_object"] = torch.from_numpy(np.stack(owner))
            batch[f"{kind}_labels"] = torch.from_numpy(np.stack(marks))
        return batch | dense.collate(items)

    @staticmethod
    def count(batch: dict[str, Any]) -> Tensor:
        """Object patches and background patches of both kinds."""
        both = [batch[f"{kind}_object"] for kind in ("spatial", "temporal")]
        return torch.tensor([float(v) for mask in both for v in (mask.sum(), (~mask).sum())])

    def tokens(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tokens before pooling float[B, T, patches, D] of both towers, and the towers' features."""
        vision = self.model.vision
        looks, moves = vision.normalise(batch["spatial"], batch["temporal"])
        assert moves is not None
        shown = vision.spatial(looks.flatten(0, 1)).unflatten(0, looks.shape[:2])
        moved = vision.temporal(moves).unflatten(1, (moves.shape[1], -1))
        return {"spatial": vision.spatial_adapter(shown), "temporal": vision.temporal_adapter(moved)}, {
            "spatial": shown,
            "temporal": moved,
        }

    def forward(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        loss = totals.new_zeros(())
        both, features = self.tokens(batch)
        for i, (kind, tokens) in enumerate(both.items()):
            mine, target = batch[f"{kind}_object"], batch[f"{kind}_target"]
            error = (tokens - target @ self.turn).square().sum(-1)
            near = error[mine].sum() / totals[2 * i].clamp(min=1)
            far = error[~mine].sum() / totals[2 * i + 1].clamp(min=1)
            raw = tokens[mine] @ self.turn.T
            wanted = batch[f"{kind}_labels"][mine]
            loss = loss + near + far
            terms |= {f"{kind}_error": near.detach(), f"{kind}_background": far.detach()}
            for a, name in enumerate(ATTRIBUTES):
                known = wanted[:, a] >= 0
                if name not in _READABLE[kind] or not known.any():
                    continue
                logits = self._logits(raw[known], name)
                share = known.sum() / totals[2 * i].clamp(min=1)
                loss = loss + functional.cross_entropy(logits, wanted[known, a]) * share
                terms[f"{kind}_{name}"] = (logits.argmax(-1) == wanted[known, a]).float().mean().detach()
        if self.heads:
            found = dense.losses(self.heads, features, batch, totals)
            loss = loss + found.pop("loss")
            terms |= found
        return {"loss": loss, **terms}

    def _logits(self, raw: Tensor, name: str) -> Tensor:
        part = raw[:, block(name)]
        return SHARPNESS * (part @ self.names.T if name == "name" else part)

    @torch.no_grad()
    def validate(self, items: list[Item]) -> dict[str, float]:
        """Share of object patches whose attribute is read right, for each tower."""
        batch = self.collate(items)
        out = self.forward(batch, self.count(batch))
        return {name: float(value) for name, value in out.items()}


_READABLE = {"spatial": ("colour", "shape", "texture", "name"), "temporal": ("colour", "motion")}
