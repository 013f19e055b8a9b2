"""Palette pictures, read by Pillow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.export.runs import SIZE, an_answer, failed, moving, ok, write_run
from vglamm.errors import MaskError
from vglamm.export.formats import export
from vglamm.export.palette import numbered
from vglamm.show.colours import colour


def test_a_pixel_is_the_number_of_its_object(tmp_path: Path) -> None:
    rows = [ok("a"), ok("a#2", an_answer(np.zeros((0, 2, *SIZE), np.bool_), (1, 100_000), 100_001)), failed()]
    export(write_run(tmp_path / "run", rows), "palette", tmp_path / "out")
    folders = sorted(path.name for path in (tmp_path / "out" / "Annotations").iterdir())
    assert folders == ["a", "a%232"]
    pictures = sorted((tmp_path / "out" / "Annotations" / "a").iterdir())
    assert [path.name for path in pictures] == ["00000.png", "00003.png", "00006.png", "00009.png"]
    first, second = moving()
    for position, path in enumerate(pictures):
        with Image.open(path) as image:
            assert image.mode == "P"
            assert image.getpalette()[:9] == [0, 0, 0, *colour(0), *colour(1)]
            pixels = np.asarray(image)
        wanted = np.where(first[position], 1, np.where(second[position], 2, 0))  # the first has the higher score
        assert np.array_equal(pixels, wanted)
    assert (first & second).any(), "the objects must overlap for this to be a test"
    empty = sorted((tmp_path / "out" / "Annotations" / "a%232").iterdir())
    assert [path.name for path in empty] == ["00001.png", "100000.png"]
    with Image.open(empty[0]) as image:
        assert image.mode == "P"
        assert not np.asarray(image).any()
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())["videos"]
    assert meta["a"]["objects"]["1"] == {"category": "thing 1", "score": 0.9, "frames": ["00000", "00006", "00009"]}
    assert meta["a%232"]["id"] == "a#2"


@pytest.mark.parametrize(("scores", "winner"), [((0.9, 0.8), 1), ((0.7, 0.8), 2), ((0.8, 0.8), 1)])
def test_overlaps_go_to_the_higher_score_then_to_the_earlier_track(scores: tuple[float, float], winner: int) -> None:
    overlap = moving()[0, 0] & moving()[1, 0]
    assert overlap.any()
    assert (numbered(an_answer(scores=scores), 0)[overlap] == winner).all()


def test_more_objects_than_a_pixel_can_name_are_refused() -> None:
    masks = np.zeros((256, 1, 2, 2), np.bool_)
    with pytest.raises(MaskError, match="256 tracks"):
        numbered(an_answer(masks, (0,), scores=(0.5,) * 256), 0)
