import numpy as np
import pytest
import torch

from vglamm.compose import tracks
from vglamm.media import rle
from vglamm.pixel.decoder import MaskLogits
from vglamm.pixel.sight import look
from vglamm.pixel.track import ABSENT
from vglamm.records import Sight


def test_a_sight_is_mask_box_and_score():
    masks = torch.full((2, 4, 4), -1.0)
    masks[0, 1:3, 0:2] = 1.0
    masks[1] = ABSENT
    seen, absent = look(MaskLogits(masks, torch.tensor([2.0, -3.0]), torch.zeros(2)), (4, 4))
    assert rle.decode([seen.rle], (4, 4))[0].tolist() == (masks[0] > 0).tolist()
    assert seen.box == (0.0, 1.0, 2.0, 3.0)
    assert seen.score == pytest.approx(1 / (1 + np.exp(-2)))
    assert (absent.rle, absent.box) == (None, None)
    assert absent.score == pytest.approx(1 / (1 + np.exp(3)))


def test_masks_have_the_size_of_the_source():
    [sight] = look(MaskLogits(torch.ones(1, 8, 8), torch.ones(1), torch.ones(1)), (5, 9))
    assert sight.rle is not None
    assert sight.rle["size"] == [5, 9]
    assert sight.box == (0.0, 0.0, 9.0, 5.0)


def test_tracks_turn_rows_into_columns():
    code = rle.encode(np.ones((1, 2, 2), bool))[0]
    here, gone = (lambda score: Sight(code, (0.0, 0.0, 2.0, 2.0), score)), Sight(None, None, 0.1)
    first, second = tracks([[gone, gone], [here(0.6), gone], [gone, gone], [here(0.8), gone]], 2)
    assert (first.first, first.last) == (1, 3)
    assert first.score == pytest.approx(0.7)
    assert first.scores == (0.1, 0.6, 0.1, 0.8)
    assert first.rle == (None, code, None, code)
    assert (second.first, second.last, second.score) == (None, None, 0.0)
    assert tracks([], 0) == ()
