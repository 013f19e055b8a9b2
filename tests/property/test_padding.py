"""Padding, on either side and of any length, never changes what the model says of real tokens."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests import fakes
from vglamm.language.lm import Language

CASES = [("phi3", None), ("phi3", 5), ("llama", None), ("qwen2", 5), ("qwen3", 5)]


@functools.cache
def language(kind: str, window: int | None) -> Language:
    torch.manual_seed(1)
    return Language(fakes.language_config(kind, sliding_window=window)).eval().requires_grad_(False)


def logits(part: Language, inputs: Tensor, mask: Tensor) -> Tensor:
    return part.logits(part.prefill(inputs, mask, cached=False)[0])


@pytest.mark.parametrize(("kind", "window"), CASES)
@settings(max_examples=12, deadline=None)
@given(length=st.integers(1, 16), left=st.integers(0, 9), right=st.integers(0, 9), seed=st.integers(0, 99))
def test_padding_never_changes_a_real_logit(kind, window, length, left, right, seed):
    part = language(kind, window)
    noise = torch.Generator().manual_seed(seed)
    real = torch.randn(1, length, part.config.width, generator=noise)
    pads = [torch.randn(1, n, part.config.width, generator=noise) * 10 for n in (left, right)]
    mask = torch.zeros(1, left + length + right)
    mask[:, left : left + length] = 1
    alone = logits(part, real, torch.ones(1, length))
    padded = logits(part, torch.cat([pads[0], real, pads[1]], dim=1), mask)
    torch.testing.assert_close(padded[:, left : left + length], alone, atol=1e-5, rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(2, 14), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_a_training_row_does_not_see_the_others_of_its_batch(lengths, seed):
    part = language("phi3", None)
    noise = torch.Generator().manual_seed(seed)
    rows = [torch.randint(3, fakes.VOCABULARY, (n,), generator=noise) for n in lengths]
    longest = max(lengths)
    ids = torch.stack([torch.cat([row, row.new_zeros(longest - len(row))]) for row in rows])
    mask = torch.stack([(torch.arange(longest) < n).long() for n in lengths])
    tokens = [torch.randn(2, part.config.width, generator=noise) for _ in rows]
    together = part(ids, mask, tokens, [0] * len(rows))
    for b, row in enumerate(rows):
        alone = part(row[None], torch.ones(1, len(row)), tokens[b : b + 1], [0])
        torch.testing.assert_close(together[b, : len(row)], alone[0], atol=1e-5, rtol=1e-4)
