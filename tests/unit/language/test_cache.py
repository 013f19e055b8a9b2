"""The cache in place against the one that copies, and that it does not copy."""

import pytest
import torch
from transformers import DynamicCache

from tests import fakes
from vglamm.language import cache
from vglamm.language.lm import lm_config

WINDOW = 9
SIZES = (7, 1, 1, 1, 5, 1, 1, 1, 1, 1, 1, 1)


def states(length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, 3, 2, length, 4, generator=noise)
    return keys, values


@pytest.fixture(autouse=True)
def short_block(monkeypatch):
    monkeypatch.setattr(cache, "BLOCK", 3)  # so that what is held moves several times


@pytest.mark.parametrize("window", [None, WINDOW])
def test_it_holds_and_gives_what_the_copying_cache_does(window):
    config = lm_config(fakes.language_config("phi3", sliding_window=None if window is None else window - 1))
    ours, theirs = cache.new_cache(config), DynamicCache(config=config)
    assert [layer.is_sliding for layer in ours.layers] == [window is not None] * len(theirs.layers)
    for seed, length in enumerate(SIZES):
        for layer in range(len(theirs.layers)):
            assert ours.get_mask_sizes(length, layer) == theirs.get_mask_sizes(length, layer)
            given = states(length, 10 * seed + layer)
            for mine, other in zip(ours.update(*given, layer), theirs.update(*given, layer), strict=True):
                assert mine.equal(other)
            for mine, other in zip(ours.layers[layer].tapes, (theirs.layers[layer].keys, theirs.layers[layer].values), strict=True):
                assert mine.held.equal(other)
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_token_is_written_behind_the_others_which_stay_where_they_are():
    layer = cache.Full()
    begin = {layer.update(*states(length, length))[0].data_ptr() for length in (5, 1, 1, 1)}
    assert len(begin) == 1
    assert layer.update(*states(1, 9))[0].data_ptr() not in begin, "the room is full: it moves once"


def test_what_was_cut_from_outside_is_not_seen_again():
    layer = cache.Full()
    first, _ = layer.update(*states(5, 0))
    kept = first[:, :, :3].clone()
    layer.crop(-2)
    new = states(2, 1)
    keys, values = layer.update(*new)
    assert keys.equal(torch.cat([kept, new[0]], dim=2))
    assert values.shape == keys.shape
