"""Compare the metrics with published results in a folder: ``metrics_expected.json`` and ``metrics_inputs.safetensors``.

Cases and quantities are taken from the files, so that a folder with other sizes and counts is compared in full. What is found
but not understood (another group, another key, a tensor that nothing used) is a record with ``ok`` False.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from vglamm.errors import VglammError
from vglamm.metrics.gcg import matches_published, miou_published
from vglamm.metrics.masks import f_per_frame, iou_matrix, j_per_frame
from vglamm.metrics.tubes import moments_published

Record = dict[str, Any]
Tensors = dict[str, NDArray[Any]]

TOLERANCE = 1e-9  # ratios of counts in float64 on both sides
SIMILARITY, MATCHES = "text_similarity[gt][pred]", "matches[gt,pred]"


def compare(folder: str | Path) -> list[Record]:
    """One record ``{case, name, max_abs, tol, ok}`` for each expected quantity; ``max_abs`` is inf where nothing was compared."""
    folder = Path(folder)
    expected_file, inputs_file = folder / "metrics_expected.json", folder / "metrics_inputs.safetensors"
    missing = [file.name for file in (expected_file, inputs_file) if not file.is_file()]
    if missing:
        return [_bad("metrics", f"no file {name}") for name in missing]
    expected, tensors = json.loads(expected_file.read_text()), load_file(inputs_file)
    kinds = {"gcg": _gcg, "jf": _jf, "tiou": _tiou}
    records: list[Record] = []
    used: set[str] = set()
    for group, cases in expected.items():
        if group not in kinds:
            records.append(_bad(group, "group not understood"))
            continue
        for i, case in enumerate(cases):
            name = f"{group}{i}"
            mine = {key: tensor for key, tensor in tensors.items() if key.split(".")[0] == name}
            used |= {f"{name}.gt", f"{name}.pred"} & mine.keys()
            try:
                records += kinds[group](name, dict(case), mine)
            except (VglammError, KeyError, ValueError, TypeError) as error:
                records.append(_bad(name, f"{type(error).__name__}: {error}"))
    return records + [_bad(key.split(".")[0], f"tensor {key} not used") for key in sorted(tensors.keys() - used)]


def _gcg(name: str, case: dict[str, Any], tensors: Tensors) -> Iterator[Record]:
    truth, predicted = tensors[f"{name}.gt"], tensors[f"{name}.pred"]
    similarity = np.array(case.pop(SIMILARITY), dtype=np.float64).reshape(len(truth), len(predicted))
    found = matches_published(iou_matrix(truth, predicted, both_empty=np.nan), similarity)
    if "miou" in case:
        yield _number(name, "miou", miou_published(truth, predicted), case.pop("miou"))
    if MATCHES in case:
        yield _number(name, MATCHES, np.array(found).reshape(-1, 2), np.array(case.pop(MATCHES)).reshape(-1, 2), 0.0)
    if "actual_positives" in case:
        yield _number(name, "actual_positives", len(truth), case.pop("actual_positives"), 0.0)
    yield from _leftover(name, case)


def _jf(name: str, case: dict[str, Any], tensors: Tensors) -> Iterator[Record]:
    truth, predicted = tensors[f"{name}.gt"], tensors[f"{name}.pred"]
    for key, measure in (("J", j_per_frame), ("F", f_per_frame)):
        if key in case:
            yield _number(name, key, measure(truth, predicted), case.pop(key))
    yield from _leftover(name, case)


def _tiou(name: str, case: dict[str, Any], tensors: Tensors) -> Iterator[Record]:
    (true_start, true_end), (start, end) = case.pop("gt"), case.pop("pred")
    got = moments_published((true_start, true_end), (start, end))
    for key, value in (("tiou", got.tiou), ("union", got.union), ("inter", len(got.inter))):
        if key in case:
            yield _number(name, key, value, case.pop(key))
    yield from _leftover(name, case)


def _number(case: str, name: str, got: Any, expected: Any, tol: float = TOLERANCE) -> Record:
    mine, theirs = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if mine.shape != theirs.shape:
        return _bad(case, f"{name}: shape {mine.shape} instead of {theirs.shape}")
    off = np.where(np.isnan(mine) & np.isnan(theirs), 0.0, np.abs(mine - theirs))
    most = float(off.max(initial=0.0))
    return {
        "case": case,
        "name": name,
        "max_abs": most if math.isfinite(most) else None,
        "tol": tol,
        "ok": most <= tol,
    }  # NaN on one side is not ok


def _leftover(case: str, keys: dict[str, Any]) -> Iterator[Record]:
    for key in keys:
        yield _bad(case, f"{key}: not compared")


def _bad(case: str, name: str) -> Record:
    return {"case": case, "name": name, "max_abs": None, "tol": 0.0, "ok": False}
