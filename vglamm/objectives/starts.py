"""How parts that know nothing begin. Published parts come pre-trained and never pass here.

With the usual small random weights a patch sees neither where it is nor which patches are like it, and both take thousands of steps
to be found. So positions begin as Fourier features of several lengths, and each attention begins by looking at tokens that are
like its own (queries equal keys, after Trockman & Kolter, arXiv 2305.09828): patches of one colour, near by, group at once. A
language model begins likewise, with words that are the codes of what they name: it then finds in a visual token what it can copy
from a sentence, instead of learning every word of a foreign language.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vglamm.data.world.codes import positions, word_codes
from vglamm.model import VideoGLaMM
from vglamm.vision.temporal import Block

_FINE = 2.5  # cycles for each half of the frame of the finer features, against 0.7 of those that a place code is made of
_AMPLITUDE = 1.0
_QUIET = {"out_proj": 0.2, "fc2": 0.5}  # of usual size: CLIP has no LayerScale, and loud blocks drown places and colours
_SEED = 20261122


def start_grouping(model: VideoGLaMM) -> None:
    """Begin both towers with positions, with attention to what is alike, and with patch features of unit size."""
    spatial, temporal = model.vision.spatial, model.vision.temporal
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        clip = spatial.clip
        clip.embeddings.position_embedding.weight[1:] = _places(spatial.config.grid, spatial.config.width)
        _unit_rows(clip.embeddings.patch_embedding, generator)
        for layer in clip.encoder.layers:
            attention = layer.self_attn
            _alike(attention.q_proj.weight, attention.k_proj.weight, generator)
            _unit_rows(attention.v_proj, generator)
            attention.out_proj.weight.mul_(_QUIET["out_proj"])
            layer.mlp.fc2.weight.mul_(_QUIET["fc2"])
        places = _places(temporal.config.grid, temporal.config.width)
        moments = torch.randn(temporal.config.chunk, 1, temporal.config.width, generator=generator) * (_AMPLITUDE / 3)
        temporal.pos_embed[0, 1:] = (places + moments).flatten(0, 1)
        _unit_rows(temporal.patch_embed, generator)
        for block in temporal.blocks:
            assert isinstance(block, Block)
            q, k, v = block.attn.qkv.weight.chunk(3)
            _alike(q, k, generator)
            v.copy_(torch.randn(v.shape, generator=generator) / v.shape[1] ** 0.5)
            _unit_rows(block.attn.proj, generator)


def start_words(model: VideoGLaMM, tokenizer: Any) -> None:
    """Give every word the vector it is read by as the one it is written by, the code to a word that has one, and let attention
    begin with what is alike."""
    lm, width = model.language.lm, model.language.config.width
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        words = lm.get_input_embeddings().weight
        words.copy_(torch.randn(words.shape, generator=generator) / width**0.5)
        for word, code in word_codes(width).items():
            words[tokenizer.convert_tokens_to_ids(f"\u0120{word}")] = torch.from_numpy(code)
        lm.get_output_embeddings().weight.copy_(words)
        for layer in model.language.trunk.layers:
            query, key, _ = layer.self_attn.qkv_proj.weight.chunk(3)
            _alike(query, key, generator)


def _places(grid: int, width: int) -> Tensor:
    """float[grid * grid, width]: sines and cosines of each patch's centre, at the lengths of a place code and finer ones."""
    centres = (np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), axis=-1).reshape(-1, 2) + 0.5) / grid * 2 - 1
    coarse = positions()[:, : width // 4]
    fine = np.random.default_rng((_SEED, 9)).standard_normal((2, width // 2 - coarse.shape[1])) * _FINE
    phases = np.concatenate([2 * np.pi * centres @ coarse, np.pi * centres @ fine], axis=1)
    return torch.from_numpy(np.concatenate([np.sin(phases), np.cos(phases)], axis=1) * _AMPLITUDE).float()


def _alike(query: Tensor, key: Tensor, generator: torch.Generator) -> None:
    """Equal orthonormal projections: the product of two normalised tokens is their likeness."""
    basis, _ = torch.linalg.qr(torch.randn(query.shape, generator=generator))
    query.copy_(basis)
    key.copy_(basis)


def _unit_rows(layer: nn.Module, generator: torch.Generator) -> None:
    """Random weights that keep the size of what comes in."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    weight.copy_(torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5)
