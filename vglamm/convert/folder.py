"""``vglamm convert``: a released VideoGLaMM folder, and towers from their own files where it lacks them -> a checkpoint of ours.

One tensor is in memory at a time. Every published tensor is used or dropped by name; anything else is an error that names it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vglamm.checkpoint import as_dtype, skeleton, write_part, write_rest
from vglamm.config import ModelConfig
from vglamm.convert.published import Published
from vglamm.convert.release import release_config
from vglamm.convert.tables import rules, translate
from vglamm.errors import CheckpointError
from vglamm.pixel.convert import sam2_rules
from vglamm.presets import preset
from vglamm.source import PARTS
from vglamm.tensors import Plan, fit
from vglamm.vision.convert import clip_rules, internvideo2_rules

log = logging.getLogger(__name__)
Source = str | os.PathLike[str]
CLIP = "openai/clip-vit-large-patch14-336"
HEAD, EMBEDDING, POSITIONS = "language.lm.lm_head.weight", "language.lm.model.embed_tokens.weight", "vision.temporal.pos_embed"


@dataclass(frozen=True)
class Conversion:
    """What was done. used: published name -> ours; dropped: published names left out on purpose; borrowed: tower -> its source."""

    folder: Path
    config: ModelConfig
    used: Mapping[str, str]
    dropped: tuple[str, ...]
    borrowed: Mapping[str, str]


def convert_folder(
    source: Source,
    target: Source,
    *,
    dtype: torch.dtype | str | None = None,
    clip: Source | None = None,
    internvideo2: Source | None = None,
    sam2: Source | None = None,
    sizes: ModelConfig | None = None,
    report: Callable[[str], None] = log.info,
) -> Conversion:
    """Convert the release at ``source`` (folder, hub id or URL) into the folder ``target``.

    dtype: of the parameters; None keeps theirs. clip, internvideo2, sam2: the towers' own weights (CLIP's folder or hub id, a
    stage-2 file, a SAM 2 file), used where the release lacks a tower; a missing CLIP is taken from its hub id unless given.
    sizes: towers and SAM if they are not the released ones. report: is told each step in a line. CheckpointError names what is
    unknown, missing or of another shape.
    """
    release = Published(source)
    if Path(target).resolve() == release.folder.resolve():
        raise CheckpointError(f"{target} as source and target", "another folder", "name a new folder")
    config = release_config(release.folder, release.shapes, sizes or preset("phi3"))
    found = translate(release.shapes, rules(config))
    where = {ours: (release, theirs) for theirs, ours in found.items() if ours is not None}
    dropped = [theirs for theirs, ours in found.items() if ours is None]
    report(f"{source}: {len(where)} tensors used, {len(dropped)} dropped on purpose, vocabulary {config.language.vocab}")
    towers = (
        ("CLIP", "vision.spatial.", clip, CLIP, clip_rules(config.vision)),
        ("InternVideo2", "vision.temporal.", internvideo2, None, internvideo2_rules(config.vision)),
        ("SAM 2", "pixel.sam.", sam2, None, sam2_rules()),
    )
    borrowed: dict[str, str] = {}
    for name, prefix, given, usual, table in towers:
        if any(ours.startswith(prefix) for ours in where):
            if given is not None:
                report(f"{name}: in the checkpoint, so {given} is not used")
            continue
        tower = _tower(name, given or usual)
        report(f"{name}: not in the checkpoint, so its own weights are taken from {tower.source}")
        borrowed[name] = tower.source
        translated = translate(tower.shapes, table)
        where.update({ours: (tower, theirs) for theirs, ours in translated.items() if ours is not None})
        dropped += [theirs for theirs, ours in translated.items() if ours is None]
    tied = {}
    if config.language.lm.get("tie_word_embeddings"):
        where.pop(HEAD, None)
        tied = {HEAD: EMBEDDING}
    model = skeleton(config)
    _check(where, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied})
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    _write(Path(target), where, parameters, as_dtype(dtype), tied, report)
    write_rest(Path(target), config, release.folder, None)
    used = {theirs: ours for ours, (origin, theirs) in where.items() if origin is release}
    return Conversion(Path(target), config, used, tuple(dropped), borrowed)


def _tower(name: str, source: Source | None) -> Published:
    if source is None:
        option = name.lower().replace(" ", "")
        raise CheckpointError(f"a checkpoint without {name}", f"it, or {name}'s own weights", f"pass them (`--{option} FILE`)")
    try:
        return Published(source)
    except CheckpointError as error:
        raise CheckpointError(f"a checkpoint without {name}, and {error.got}", f"{name}'s own weights", error.fix) from error


Where = dict[str, tuple[Published, str]]


def _check(where: Where, expected: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {ours: origin.shapes[theirs] for ours, (origin, theirs) in where.items()}
    if POSITIONS in shapes and shapes[POSITIONS] != expected[POSITIONS]:
        raise CheckpointError(
            f"an InternVideo2 with positions {list(shapes[POSITIONS])}",
            f"{list(expected[POSITIONS])} (a CLS and chunk x grid x grid)",
            "take the weights for that many frames and pixels; positions are never interpolated",
        )
    fit("the weights", shapes, expected)


def _write(
    target: Path,
    where: Where,
    parameters: set[str],
    dtype: torch.dtype | None,
    tied: Mapping[str, str],
    report: Callable[[str], None],
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").unlink(missing_ok=True)
    for part in PARTS:
        own = {ours.removeprefix(f"{part}."): place for ours, place in where.items() if ours.startswith(f"{part}.")}
        plan = {}
        for name, (origin, theirs) in own.items():
            stored = origin.dtypes[theirs]
            wanted = dtype if dtype and stored.is_floating_point and f"{part}.{name}" in parameters else stored
            plan[name] = (wanted, origin.shapes[theirs])

        def get(name: str, own: Where = own, plan: Plan = plan) -> Tensor:
            origin, theirs = own[name]
            return origin.get(theirs).to(plan[name][0])

        twins = {k.removeprefix(f"{part}."): v.removeprefix(f"{part}.") for k, v in tied.items() if k.startswith(f"{part}.")}
        write_part(target, part, plan, get, twins)
        report(f"{part}.safetensors: {len(plan)} tensors")
