"""Dense targets say what the scene holds, patch by patch."""

from __future__ import annotations

import numpy as np
import torch

from vglamm.data.world import make_scene
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.model import VideoGLaMM
from vglamm.objectives import dense
from vglamm.objectives.perception import Perception
from vglamm.presets import preset


def test_a_silhouette_is_the_object_around_its_centre_and_a_fill_its_part_of_the_patch() -> None:
    config = preset("tiny").vision
    scene = make_scene(3, difficulty="easy", level="shapes")
    looks = scene.llm_frames[:2]
    made = dense.targets(scene, config, "spatial", looks)
    [item, *_] = scene.objects
    assert made["outline"].shape == (len(scene.objects), 2, dense.SIDE**2)
    x, y = (int(v) for v in item.centres[looks[0]])
    centre = made["outline"][0, 0].reshape(dense.SIDE, dense.SIDE)[dense.SIDE // 2, dense.SIDE // 2]
    assert bool(centre) == bool(scene.id_map[looks[0], y, x] == item.id)
    share = made["fill"][0].mean() * config.spatial.grid**2
    assert 0 < share <= (scene.id_map[looks[0]] > 0).mean() * config.spatial.grid**2 + 1


def test_a_drift_is_the_way_from_the_first_frame_to_the_last() -> None:
    scene = make_scene(5, difficulty="easy", level="shapes")
    moves = scene.llm_frames[:4]
    drift = dense.targets(scene, preset("tiny").vision, "temporal", moves)["drift"]
    for item, told in zip(scene.objects, drift, strict=True):
        way = (item.centres[moves[-1]] - item.centres[moves[0]]) / scene.id_map.shape[1] * 10
        assert np.allclose(told[:2], way)
        assert np.isclose(np.hypot(told[3], told[4]), 1.0)


def test_its_losses_reach_the_towers_and_its_heads() -> None:
    torch.manual_seed(0)
    model = VideoGLaMM(preset("tiny"))
    objective = Perception(model, build_tokenizer(), dense=True, difficulty="easy")
    batch = objective.collate([objective.preparer()(seed) for seed in range(2)])
    out = objective(batch, objective.count(batch))
    out["loss"].backward()
    assert {"outline", "fill", "drift"} <= set(out)
    for tensor in (*objective.heads.parameters(), model.vision.spatial.clip.embeddings.patch_embedding.weight):
        assert tensor.grad is not None
        assert float(tensor.grad.abs().sum()) > 0
