"""Dense targets for the towers: the outline of the object a patch belongs to, and how it drifts.

A name of a shape or a motion is one number for a whole object and takes long to be found; what it is made of is told by many. So
each patch of an object is also asked for the silhouette around the object's centre and for its own fill, and each patch of a chunk
for the way, the growth and the turn of its object. Linear heads on the towers' features answer; they go when training ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vglamm.data.world import Scene, WorldObject
from vglamm.data.world.codes import owners
from vglamm.vision.config import VisionConfig

Array = NDArray[Any]
SIDE = 12  # of a silhouette
_REACH = 1.3  # of a silhouette, in diameters
_WEIGHTS = {"outline": 6.0, "fill": 3.0, "drift": 3.0}


def heads(config: VisionConfig, towers: tuple[str, ...] = ("spatial", "temporal")) -> nn.ModuleDict:
    made = {
        "outline": ("spatial", config.spatial.width, SIDE * SIDE),
        "fill": ("spatial", config.spatial.width, config.spatial.patch**2),
        "drift": ("temporal", config.temporal.width, 5),
    }
    return nn.ModuleDict({name: nn.Linear(width, out) for name, (tower, width, out) in made.items() if tower in towers})


def targets(scene: Scene, config: VisionConfig, tower: str, frames: Array) -> dict[str, Array]:
    """Of the spatial tower outline: uint8[objects, frames, SIDE * SIDE]; fill: uint8[frames, patches, patch * patch]. Of the other
    drift: float32[objects, 5], from the first to the last frame: the way in x and y in tenths of the frame, the growth as a
    logarithm (thrice), sine and cosine of the turn."""
    if tower == "temporal":
        return {"drift": np.stack([_drift(scene, item, frames) for item in scene.objects])}
    return {
        "outline": np.stack([_outline(scene, item, frames) for item in scene.objects]),
        "fill": _fill(scene, frames, config.spatial.grid, config.spatial.patch),
    }


def collate(items: list[dict[str, Array]]) -> dict[str, Tensor]:
    """Targets of each patch: outline and fill [B, looks, patches, bits], drift [B, frames, patches, 5]; zeros on the background."""
    out: dict[str, Tensor] = {}
    for name, kind in (("outline", "spatial"), ("drift", "temporal")):
        if name in items[0]:
            tables = [np.concatenate([np.zeros_like(item[name][:1]), item[name]]) for item in items]
            out[name] = torch.from_numpy(
                np.stack([_spread(table, item[f"{kind}_owner"]) for table, item in zip(tables, items, strict=True)])
            )
    if "fill" in items[0]:
        out["fill"] = torch.from_numpy(np.stack([item["fill"] for item in items]))
    return out


def _spread(table: Array, owner: Array) -> Array:
    """Rows of a table of objects (its first is the background) for each patch's owner; a table may have a row for each frame."""
    return np.asarray(table[owner, np.arange(len(owner))[:, None]] if table.ndim == 3 else table[owner])


def losses(made: nn.ModuleDict, features: dict[str, Tensor], batch: dict[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
    """The weighted sum as ``loss``, and each term: bits by cross-entropy, drifts by squared error, means over object patches."""
    out: dict[str, Tensor] = {}
    loss = totals.new_zeros(())
    for name, kind, place in (("outline", "spatial", 0), ("fill", "spatial", 0), ("drift", "temporal", 2)):
        if name not in made:
            continue
        mine = batch[f"{kind}_object"]
        said, true = made[name](features[kind][mine]), batch[name][mine].float()
        if name == "drift":
            error = (said - true).square().mean(-1).sum()
        else:
            error = functional.binary_cross_entropy_with_logits(said, true, reduction="none").mean(-1).sum()
        out[name] = error / totals[place].clamp(min=1)
        loss = loss + _WEIGHTS[name] * out[name]
    return {name: value.detach() for name, value in out.items()} | {"loss": loss}


def _outline(scene: Scene, item: WorldObject, looks: Array) -> Array:
    height, width = scene.id_map.shape[1:]
    steps = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    out = np.zeros((len(looks), SIDE, SIDE), np.uint8)
    for n, f in enumerate(looks):
        xs = np.floor(item.centres[f, 0] + steps * _REACH * item.diameters[f]).astype(int)
        ys = np.floor(item.centres[f, 1] + steps * _REACH * item.diameters[f]).astype(int)
        inside = ((ys >= 0) & (ys < height))[:, None] & ((xs >= 0) & (xs < width))[None]
        out[n] = (scene.id_map[f][np.ix_(ys.clip(0, height - 1), xs.clip(0, width - 1))] == item.id) & inside
    return out.reshape(len(looks), -1)


def _fill(scene: Scene, looks: Array, grid: int, patch: int) -> Array:
    at = ((np.arange(grid * patch) + 0.5) * scene.id_map.shape[1] / (grid * patch)).astype(int)
    small = scene.id_map[looks][:, at][:, :, at]
    cells = small.reshape(len(looks), grid, patch, grid, patch).transpose(0, 1, 3, 2, 4).reshape(len(looks), grid * grid, patch**2)
    owner = owners(scene.id_map[looks], grid)[..., None]
    return np.asarray((cells == owner) & (owner > 0), np.uint8)


def _drift(scene: Scene, item: WorldObject, moves: Array) -> Array:
    first, last = int(moves[0]), int(moves[-1])
    way = (item.centres[last] - item.centres[first]) / scene.id_map.shape[1] * 10
    growth = np.log(item.diameters[last] / item.diameters[first]) * 3
    turn = np.deg2rad(item.angles[last] - item.angles[first])
    return np.array([*way, growth, np.sin(turn), np.cos(turn)], np.float32)
