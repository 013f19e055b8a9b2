"""Compare pixel streams and conversation strings with published ones in a folder: ``preprocess_*.safetensors``, ``prompts.json``.

Inputs are ``frames.NAME`` (uint8[T, H, W, 3]); what is expected is called ``STREAM.NAME`` or ``STREAM.NAME[slices]``. Names, clips
and slices are taken from the files, and what is found but not understood is a record with ``ok`` False.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests import fakes
from vglamm.errors import VglammError
from vglamm.language.dialogue import IMAGE, images_text, render
from vglamm.media import resize
from vglamm.pixel.config import PixelConfig
from vglamm.pixel.decoder import Pixel
from vglamm.vision.config import SpatialConfig, TemporalConfig
from vglamm.vision.encoder import Vision

Record = dict[str, Any]
LEVELS = 2  # of 255 that a pixel may differ, before it is divided by the std
KEY = re.compile(r"(?P<stream>\w+)\.(?P<clip>[^\[\]]+)(\[(?P<slices>[^\]]*)\])?")
INPUTS, EXPECTED, PROMPTS = "preprocess_inputs.safetensors", "preprocess_expected.safetensors", "prompts.json"


def compare(folder: str | Path) -> Iterator[Record]:
    """One record ``{case, name, max_abs, tol, ok}`` for each expected quantity of the files that the folder has."""
    folder = Path(folder)
    if (folder / INPUTS).exists() or (folder / EXPECTED).exists():
        yield from _preprocess(folder)
    if (folder / PROMPTS).exists():
        yield from _prompts(json.loads((folder / PROMPTS).read_text()))


def _preprocess(folder: Path) -> Iterator[Record]:
    for name in (INPUTS, EXPECTED):
        if not (folder / name).exists():
            yield _bad("preprocess", f"no file {name}")
            return
    inputs, expected = load_file(folder / INPUTS), load_file(folder / EXPECTED)
    unused = set(inputs)
    for key, want in sorted(expected.items()):
        found = KEY.fullmatch(key)
        source = f"frames.{found['clip']}" if found else ""
        if not found or found["stream"] not in STREAMS or source not in inputs:
            yield _bad("preprocess", f"{key}: not compared")
            continue
        unused.discard(source)
        got, levels = STREAMS[found["stream"]](inputs[source])
        got = got[_slices(found["slices"])]
        if got.shape != want.shape:
            yield _bad("preprocess", f"{key}: shape {list(got.shape)} instead of {list(want.shape)}")
            continue
        error = float((np.abs(got.astype(np.float64) - want) * levels).max(initial=0.0))
        tol = LEVELS if want.ndim > 1 else 0.0
        most = error if math.isfinite(error) else None
        yield {"case": "preprocess", "name": key, "max_abs": most, "tol": tol, "ok": error <= tol}
    for key in sorted(unused):
        yield _bad("preprocess", f"{key}: not compared")


def _slices(text: str | None) -> tuple[slice, ...]:
    if not text:
        return ()
    return tuple(slice(*(int(bound) if bound else None for bound in axis.strip().split(":"))) for axis in text.split(","))


@cache
def _parts() -> tuple[Vision, Pixel]:
    """Parts whose pixels are those of the released model; what lies behind the pixels is narrow and never run."""
    small = fakes.config()
    look = replace(small.vision.spatial, image_size=SpatialConfig().image_size, patch=SpatialConfig().patch)
    move = replace(small.vision.temporal, image_size=TemporalConfig().image_size, patch=TemporalConfig().patch)
    released = PixelConfig()
    pixel = replace(small.pixel, image_size=released.image_size, longest=released.longest)
    return Vision(replace(small.vision, spatial=look, temporal=move)), Pixel(pixel)


Stream = Callable[[NDArray[np.uint8]], tuple[NDArray[Any], Any]]
"""Frames -> (what the model sees, 8-bit levels in a unit of it)."""


def _spatial(frames: NDArray[np.uint8]) -> tuple[NDArray[Any], Any]:
    vision, _ = _parts()
    seen = resize.spatial(frames, vision.config.spatial.image_size)
    return vision.normalise(torch.from_numpy(seen), None)[0].numpy(), 255 * vision.spatial_std.numpy()


def _temporal(frames: NDArray[np.uint8]) -> tuple[NDArray[Any], Any]:
    vision, _ = _parts()
    seen = torch.from_numpy(resize.temporal(frames, vision.config.temporal.image_size))
    pixels = vision.normalise(seen, seen)[1]
    assert pixels is not None
    return pixels.numpy(), 255 * vision.temporal_std.numpy()


def _grounding(frames: NDArray[np.uint8]) -> tuple[NDArray[Any], Any]:
    _, pixel = _parts()
    seen = torch.from_numpy(resize.grounding(frames, pixel.config.longest))
    return pixel.square(seen).numpy(), pixel.std.numpy()


def _grounding_resize(frames: NDArray[np.uint8]) -> tuple[NDArray[Any], Any]:
    return np.array(resize.grounding(frames, _parts()[1].config.longest).shape[2:]), 1.0


STREAMS: dict[str, Stream] = {
    "spatial_pixels": _spatial,
    "temporal_pixels": _temporal,
    "grounding_pixels": _grounding,
    "grounding_resize": _grounding_resize,
}


def _prompts(tree: dict[str, Any]) -> Iterator[Record]:
    """Each string is taken apart into turns, and those are rendered again: the two must be equal."""
    for variant, cases in tree.items():
        name, _, flag = variant.partition("=")
        if name != "use_im_start_end" or flag not in ("True", "False") or not isinstance(cases, dict):
            yield _bad("prompts", f"{variant}: not compared")
            continue
        for case, texts in cases.items():
            for i, text in enumerate(texts if isinstance(texts, list) else [texts]):
                label = f"{variant}/{case}" + (f"[{i}]" if isinstance(texts, list) else "")
                if not isinstance(text, str):
                    yield _bad("prompts", f"{label}: not compared")
                    continue
                try:
                    equal = _rendered(text, flag == "True") == text
                except (VglammError, IndexError, ValueError) as error:
                    yield _bad("prompts", f"{label}: {type(error).__name__}: {error}")
                    continue
                yield {"case": "prompts", "name": label, "max_abs": 0.0 if equal else 1.0, "tol": 0.0, "ok": equal}


def _rendered(text: str, wrap: bool) -> str:
    images = images_text(0 if "<im_start>" in text else text.count(IMAGE), wrap)
    pieces = text.split("<|user|>\n")[1:]
    turns: list[tuple[str, str]] = []
    pending: str | None = None
    for i, piece in enumerate(pieces):
        asked, _, rest = piece.partition("<|end|>\n<|assistant|>\n")
        if i == 0:
            asked = asked.removeprefix(f"{images}\n")
        if rest:
            turns.append((asked, rest.partition("<|end|>")[0]))
        else:
            pending = asked
    return render(turns, pending, images)


def _bad(case: str, name: str) -> Record:
    return {"case": case, "name": name, "max_abs": None, "tol": 0.0, "ok": False}
