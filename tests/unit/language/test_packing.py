"""Packed layers compute what the layers that they were made of compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vglamm.language.packing import Packed, pack


@pytest.mark.parametrize("shape", [(32,), (1, 32), (3, 32), (4, 32), (2, 9, 32), (1, 1, 32)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_numbers(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, given = nn.Linear(32, 48, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(Packed(layer)(given), layer(given), atol=1e-6, rtol=1e-5)


def test_a_row_does_not_depend_on_its_company() -> None:
    torch.manual_seed(0)
    packed, given = Packed(nn.Linear(64, 96)), torch.randn(3, 64)
    with torch.inference_mode():
        together = packed(given)
        for number in range(3):
            torch.testing.assert_close(packed(given[number : number + 1])[0], together[number], atol=0, rtol=0)


def test_large_float32_layers_are_packed_and_no_others() -> None:
    part = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 16).bfloat16())
    pack(part, least=256)
    assert [type(layer) for layer in (part[0], part[1][0], part[2])] == [nn.Linear, Packed, nn.Linear]
