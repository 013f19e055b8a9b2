"""Laws of the generated world that hold for every seed."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vglamm.data.world import DIFFICULTIES, SPLITS, dialogues, make_sample, make_scene

SEEDS = st.integers(0, max(span.stop for span in SPLITS.values()) - 1)
SETTING = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@SETTING
@given(seed=SEEDS, difficulty=st.sampled_from(sorted(DIFFICULTIES)), size=st.sampled_from((64, 128)))
def test_every_seed_gives_a_sample_that_fits_together(seed, difficulty, size):
    sample = make_sample(seed, difficulty=difficulty, size=size)  # Sample and Turn check themselves
    scene = sample.meta
    assert 1 <= len(sample.turns) <= 3
    assert sample.frames.shape[0] == (1 if sample.is_image else 16)
    assert scene.id_map.max() <= len(scene.objects)
    for mask in sample.masks:
        assert mask[scene.llm_frames].sum(axis=(1, 2)).max() >= scene.least_area
    assert make_sample(seed, difficulty=difficulty, size=size).turns == sample.turns


@SETTING
@given(seed=SEEDS, difficulty=st.sampled_from(sorted(DIFFICULTIES)))
def test_objects_share_colour_and_noun_only_as_pairs(seed, difficulty):
    scene = make_scene(seed, difficulty=difficulty, pixels=False)
    bases = [item.base for item in scene.objects]
    looks = [item.look for item in scene.objects]
    assert len(set(bases)) >= len(bases) - 1
    assert (len(set(looks)) < len(looks)) == (scene.twins is not None)


@SETTING
@given(seed=SEEDS, count=st.integers(1, 12))
def test_dialogues_stay_inside_the_scene(seed, count):
    scene = make_scene(seed, pixels=False)
    turns = dialogues(scene, np.random.default_rng(seed), count)
    assert 1 <= len(turns) <= count
    assert {target for turn in turns for target in turn.targets} <= {item.id for item in scene.objects}
