"""Vision alone: both towers and adapters learn to write the token codes of :mod:`vglamm.data.world.codes`, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vglamm.config import ModelConfig, typed
from vglamm.data.world import Scene, make_scene
from vglamm.data.world.codes import NAME, block, labels, name_codes, owners, rotation, token_codes
from vglamm.errors import ConfigError
from vglamm.media import resize
from vglamm.model import VideoGLaMM
from vglamm.objectives import dense
from vglamm.objectives.segmentation import mean_of
from vglamm.objectives.starts import start_grouping

Item = dict[str, NDArray[Any]]
TOWERS = ("spatial", "temporal")
ATTRIBUTES = ("colour", "shape", "texture", "name", "motion")
SHARPNESS = 8.0  # of the softmax over the known codes of an attribute


@dataclass(frozen=True)
class PerceptionPreparer:
    """seed -> frames of the towers, the owner of each patch, and every object's raw codes and labels.

    towers: which of the two learn. looks: frames for the spatial tower; the temporal one gets one chunk. Neighbouring frames teach
    little new. image: scenes of a single frame (for the spatial tower alone). easy_share: share of easy scenes. dense: also
    outlines and drifts (:mod:`vglamm.objectives.dense`).
    """

    config: ModelConfig
    difficulty: str = "normal"
    level: str | None = None
    towers: tuple[str, ...] = TOWERS
    image: bool = False
    easy_share: float = 0.0
    looks: int = 2
    dense: bool = False

    def __post_init__(self) -> None:
        if not self.towers or set(self.towers) - set(TOWERS) or (self.image and tuple(self.towers) != ("spatial",)):
            raise ConfigError(
                f"towers {self.towers}{' of images' if self.image else ''}",
                f"some of {TOWERS}; of images the spatial one alone",
                "fix the recipe",
            )

    def __call__(self, seed: int) -> Item:
        rng = np.random.default_rng((seed, 77))
        difficulty = "easy" if rng.random() < self.easy_share else self.difficulty
        scene = make_scene(seed, difficulty=difficulty, level=self.level, image=self.image)
        vision, shown = self.config.vision, scene.llm_frames
        chosen = {"spatial": np.sort(rng.choice(shown, 1 if self.image else self.looks, replace=False))}
        if not self.image:
            chunk = vision.temporal.chunk
            part = int(rng.integers(len(shown) // chunk)) * chunk
            chosen["temporal"] = shown[part : part + chunk]
        item: Item = {"labels": np.array([[getattr(labels(o), name) for name in ATTRIBUTES] for o in scene.objects])}
        for kind in self.towers:
            item |= self._seen(scene, kind, chosen[kind])
        return item

    def _seen(self, scene: Scene, kind: str, frames: NDArray[np.int_]) -> Item:
        """What one tower is shown and should say of it."""
        tower = getattr(self.config.vision, kind)
        codes = [token_codes(o, scene.id_map.shape[1], temporal=kind == "temporal")[frames] for o in scene.objects]
        seen: Item = {
            kind: _RESIZED[kind](scene.frames[frames], tower.image_size),
            f"{kind}_owner": owners(scene.id_map[frames], tower.grid),
            f"{kind}_code": np.stack(codes),
        }
        return seen | (dense.targets(scene, self.config.vision, kind, frames) if self.dense else {})


class Perception(nn.Module):
    """Loss: squared error of every patch's token against its code (background: zero), and cross-entropy of each attribute as read
    off the token by its distance to the known codes. Its only weights are the heads of ``dense``. fresh: the towers know nothing
    yet and begin as :func:`start_grouping` says. Also told, for each tower: share of object patches whose attribute is read right,
    of those that have it."""

    turn: Tensor
    names: Tensor

    def __init__(self, model: VideoGLaMM, tokenizer: Any, *, fresh: bool = True, **data: Any) -> None:
        super().__init__()
        self.model = model
        if fresh:
            start_grouping(model)
        self.settings = PerceptionPreparer(model.config, **typed(PerceptionPreparer, data, "settings."))
        self.heads = dense.heads(model.config.vision, self.settings.towers) if self.settings.dense else nn.ModuleDict()
        self.register_buffer("turn", torch.from_numpy(rotation(model.config.vision.adapter_width)), persistent=False)
        self.register_buffer("names", torch.from_numpy(name_codes(NAME)), persistent=False)

    def preparer(self) -> PerceptionPreparer:
        return self.settings

    @staticmethod
    def collate(items: list[Item]) -> dict[str, Any]:
        batch: dict[str, Any] = {}
        for kind in (kind for kind in TOWERS if kind in items[0]):
            batch[kind] = torch.from_numpy(np.stack([item[kind] for item in items]))
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
        """Object patches and background patches of both towers (0 of one that is not taught)."""
        both = [batch.get(f"{kind}_object", torch.zeros(0, dtype=torch.bool)) for kind in TOWERS]
        return torch.tensor([float(v) for mask in both for v in (mask.sum(), (~mask).sum())])

    def tokens(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tokens before pooling float[B, T, patches, D] of each tower, and the towers' features."""
        vision = self.model.vision
        tokens, features = {}, {}
        if "spatial" in batch:
            looks, _ = vision.normalise(batch["spatial"], None)
            features["spatial"] = vision.spatial(looks.flatten(0, 1)).unflatten(0, looks.shape[:2])
            tokens["spatial"] = vision.spatial_adapter(features["spatial"])
        if "temporal" in batch:
            moves = vision.normalise_temporal(batch["temporal"])
            features["temporal"] = vision.temporal(moves).unflatten(1, (moves.shape[1], -1))
            tokens["temporal"] = vision.temporal_adapter(features["temporal"])
        return {kind: made.float() for kind, made in tokens.items()}, {kind: made.float() for kind, made in features.items()}

    def forward(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        loss = totals.new_zeros(())
        both, features = self.tokens(batch)
        for kind, tokens in both.items():
            i = TOWERS.index(kind)
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
                terms[f"{kind}_{name}"] = mean_of(logits.argmax(-1) == wanted[known, a])
        if self.heads:
            found = dense.losses(self.heads, features, batch, totals)
            loss = loss + found.pop("loss")
            terms |= found
        return {"loss": loss, **terms}

    def _logits(self, raw: Tensor, name: str) -> Tensor:
        part = raw[:, block(name)]
        return SHARPNESS * (part @ self.names.T if name == "name" else part)

    @torch.no_grad()
    def validate(self, batch: dict[str, Any], totals: Tensor) -> dict[str, Tensor]:
        return self.forward(batch, totals)


_RESIZED = {"spatial": resize.spatial, "temporal": resize.temporal}
_READABLE = {"spatial": ("colour", "shape", "texture", "name"), "temporal": ("colour", "motion")}
