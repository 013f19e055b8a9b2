"""The codes that the tiny model's parts are taught with: read back from a scene they tell its objects."""

from __future__ import annotations

import numpy as np
import pytest

from vglamm.data.world import THINGS, make_scene
from vglamm.data.world.codes import (
    BLOCKS,
    NAME,
    PROMPT,
    RAW,
    block,
    first_visible,
    labels,
    name_codes,
    owners,
    prompt_code,
    rotation,
    token_codes,
)
from vglamm.data.world.words import COLOURS, MOTIONS
from vglamm.presets import preset


def test_rotation_loses_nothing() -> None:
    turn = rotation(192)
    assert turn.shape == (RAW, 192)
    np.testing.assert_allclose(turn @ turn.T, np.eye(RAW), atol=1e-5)


def test_names_are_told_apart() -> None:
    codes = name_codes(NAME)
    likeness = codes @ codes.T - np.eye(len(THINGS))
    assert likeness.max() < 0.6


@pytest.mark.parametrize("seed", range(6))
def test_token_codes_tell_the_object(seed: int) -> None:
    scene = make_scene(seed, level="mixed")
    for item in scene.objects:
        looks, moves, known = token_codes(item, 128, temporal=False), token_codes(item, 128, temporal=True), labels(item)
        assert (looks[:, block("present")] == 1).all()
        assert (moves[:, block("motion")].argmax(1) == MOTIONS.index(item.motion)).all()
        assert not looks[:, block("motion")].any()
        assert not moves[:, block("shape")].any()
        if item.colour:
            assert list(COLOURS)[looks[0, block("colour")].argmax()] == item.colour
        if known.name >= 0:
            assert THINGS[int((name_codes(NAME) @ looks[0, block("name")]).argmax())] == item.noun


def test_blocks_cover_a_code_without_overlap() -> None:
    covered = np.zeros(RAW, int)
    for name in BLOCKS:
        covered[block(name)] += 1
    assert (covered == 1).all()


def test_owners_follow_the_masks() -> None:
    ids = np.zeros((1, 8, 8), np.uint8)
    ids[0, :4, :4] = 2  # a whole patch
    ids[0, 4:6, 4:8] = 1  # half a patch
    ids[0, 0, 4:7] = 1  # 3 of 16 pixels: too little
    assert owners(ids, 2)[0].tolist() == [2, 0, 0, 1]
    assert owners(np.zeros((2, 8, 8), np.uint8), 2).tolist() == [[0] * 4, [0] * 4]


def test_prompt_codes_fit_the_preset_and_differ_by_place_for_twins() -> None:
    scene = make_scene(3, wants=("motion",))
    assert scene.twins is not None
    a, b = (scene.objects[i - 1] for i in scene.twins)
    assert first_visible(scene, a) in scene.llm_frames
    one, other = prompt_code(scene, a), prompt_code(scene, b)
    assert one.shape == (PROMPT,) == (preset("tiny").pixel.prompt_width,)
    np.testing.assert_allclose(prompt_code(scene, a, place=False), prompt_code(scene, b, place=False))
    assert np.abs(one - other).max() > 0.5
