"""The model that bulk jobs are measured with: the shipped one, or, where it is not there, one of its sizes that says one sentence.

Speed, memory and traffic depend on sizes, not on what was learnt; but a model at birth never grounds a phrase, so its masks would
cost nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import torch

from vglamm import checkpoint
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.errors import CheckpointError
from vglamm.language.dialogue import Scribe
from vglamm.language.lm import Language
from vglamm.model import VideoGLaMM
from vglamm.presets import preset

SENTENCE = "<p>cat</p>[SEG]"
"""No token twice, so that each tells which one comes next."""


def resolved(model: str, folder: Path) -> tuple[str, str]:
    """``model`` and what it is; in place of a preset that has no weights, a stand-in that is made in ``folder``."""
    try:
        checkpoint.load_config(model)
    except CheckpointError:
        if model != "tiny":
            raise
        return str(stand_in(folder)), "preset `tiny`, random weights that say one sentence with one object"
    return model, "the shipped weights" if model == "tiny" else f"checkpoint `{Path(model).name}`"


def stand_in(folder: Path, frames: int | None = None) -> Path:
    """A checkpoint of preset ``tiny`` with random weights that answers :data:`SENTENCE` to everything, its object always there.
    frames: that the language model sees, if not the preset's."""
    torch.manual_seed(0)
    config = preset("tiny")
    config = config if frames is None else replace(config, vision=replace(config.vision, frames=frames))
    model = VideoGLaMM(config).eval().requires_grad_(False)
    tokenizer = build_tokenizer()
    taught = Scribe(tokenizer, model.config.language).teach([("What?", SENTENCE)], visual=1, frames=1)
    [first, *_] = (taught.labels >= 0).nonzero()[0]
    _recite(model.language, taught.ids[first - 1 :].tolist())
    model.pixel.sam.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(4.0)
    checkpoint.save(model, folder, tokenizer=tokenizer)
    return folder


def _recite(language: Language, ids: list[int]) -> None:
    """Make each token be followed by the next one of ``ids``: the layers run but add nothing, and the head knows the pairs."""
    assert len(set(ids)) == len(ids), f"{ids} says a token twice"
    for layer in language.trunk.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    words, head = language.trunk.embed_tokens.weight, language.lm.get_output_embeddings().weight
    head.zero_()
    for before, after in itertools.pairwise(ids):
        head[after] = words[before]
