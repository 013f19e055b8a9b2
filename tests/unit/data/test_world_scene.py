"""Scenes: the same seed gives the same pixels, masks lie where the colours are, settings are kept."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vglamm.data.world import DIFFICULTIES, SPLITS, THINGS, Difficulty, llm_frames, make_sample, make_scene
from vglamm.data.world.ground import draw_ground
from vglamm.data.world.scene import EASY, NORMAL
from vglamm.data.world.sprites import shape_sprite, thing_sprite, warp
from vglamm.data.world.words import ASSETS, COLOURS, DIRECTIONS, SHAPES, TEXTURES
from vglamm.errors import ConfigError

FLAT = Difficulty("flat", (2, 3), (30, 50), (32, 50), 0.2, 0.2, 0.1, 0.2, 0.2, (("flat", 1.0),))


def test_a_seed_fixes_every_pixel_and_word():
    one, two = make_sample(7), make_sample(7)
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.masks, two.masks)
    assert one.turns == two.turns
    assert not np.array_equal(one.frames, make_sample(8).frames)


def test_a_scene_without_pixels_is_the_same_scene():
    seen, unseen = make_scene(3), make_scene(3, pixels=False)
    assert unseen.frames.shape == (0, 128, 128, 3)
    assert np.array_equal(seen.id_map, unseen.id_map)
    assert [item.base for item in seen.objects] == [item.base for item in unseen.objects]


def test_splits_are_disjoint():
    ranges = sorted(SPLITS.values(), key=lambda span: span.start)
    assert set(SPLITS) == {"train", "valid", "test"}
    assert all(first.stop <= second.start for first, second in pairwise(ranges))


@pytest.mark.parametrize("seed", range(12))
def test_masks_lie_where_the_colours_are(seed):
    scene = make_scene(seed, level="shapes", difficulty=FLAT)
    for item in scene.objects:
        inside = ndimage.binary_erosion(scene.mask(item.id), np.ones((1, 5, 5)))
        pixels = scene.frames[inside].astype(float)
        if len(pixels) < 50:
            continue
        bright = pixels[pixels.max(axis=1) >= np.quantile(pixels.max(axis=1), 0.6)].mean(axis=0)  # off the dark marks
        directions = {name: np.asarray(rgb) / np.linalg.norm(rgb) for name, rgb in COLOURS.items()}
        nearest = max(directions, key=lambda name: directions[name] @ bright)
        assert nearest == item.colour


@pytest.mark.parametrize("seed", range(6))
def test_outside_the_masks_is_only_ground(seed):
    scene = make_scene(seed, difficulty=FLAT)
    away = ~ndimage.binary_dilation(scene.foreground, np.ones((1, 5, 5)))
    still = scene.frames.astype(int)
    both = away[:-1] & away[1:]
    assert both.any()
    changed = (np.abs(np.diff(still, axis=0)) > 8).any(axis=-1)[both].mean()
    assert changed < 0.001  # whiskers thinner than half a pixel are in no mask


def test_areas_count_visible_pixels():
    scene = make_scene(21, difficulty="hard")
    for item in scene.objects:
        assert item.areas.tolist() == scene.mask(item.id).sum(axis=(1, 2)).tolist()
        assert np.array_equal(item.visible, item.areas >= 60)
    assert np.array_equal(scene.foreground, np.any([scene.mask(item.id) for item in scene.objects], axis=0))


def test_movers_move_where_they_say():
    for seed in range(30):
        scene = make_scene(seed, difficulty="easy", pixels=False)
        for item in scene.objects:
            rows, columns = (np.flatnonzero(scene.mask(item.id)[0].any(axis=1 - axis)) for axis in (0, 1))
            last_rows, last_columns = (np.flatnonzero(scene.mask(item.id)[-1].any(axis=1 - axis)) for axis in (0, 1))
            step = np.asarray([last_columns.mean() - columns.mean(), last_rows.mean() - rows.mean()])
            if item.motion in DIRECTIONS:
                assert step @ np.asarray(DIRECTIONS[item.motion]) > 20
            else:
                assert np.abs(step).max() <= 1


def test_difficulty_sets_the_number_of_objects_and_late_entries():
    counts, late = {}, {}
    for name, setting in DIFFICULTIES.items():
        scenes = [make_scene(seed, difficulty=name, pixels=False) for seed in range(120)]
        objects = [item for scene in scenes for item in scene.objects]
        counts[name] = len(objects) / len(scenes)
        late[name] = np.mean([not item.visible[0] for item in objects])
        assert all(len(scene.objects) <= max(2, setting.objects[1]) for scene in scenes)
    assert counts["easy"] < counts["normal"] < counts["hard"]
    assert late["easy"] == 0
    assert 0.08 < late["normal"] < 0.22
    assert late["normal"] < late["hard"]


def test_spinning_can_always_be_seen():
    spinners = [o for seed in range(200) for o in make_scene(seed, level="shapes", pixels=False).objects if o.motion == "spins"]
    assert len(spinners) > 20
    assert not [item for item in spinners if item.noun in ("circle", "ring") and item.texture == "plain"]


@pytest.mark.parametrize(("size", "frames"), [(64, 8), (96, 24), (256, 16)])
def test_other_sizes_and_lengths(size, frames):
    sample = make_sample(11, size=size, frames=frames, image=False, difficulty="normal")
    assert sample.frames.shape == (frames, size, size, 3)
    assert len(llm_frames(frames)) == 8
    assert llm_frames(16).tolist() == [0, 2, 4, 6, 8, 10, 12, 15]


@pytest.mark.parametrize("kind", ["flat", "cloud", "grain", "pattern", "film"])
def test_grounds(kind):
    ground = draw_ground(kind, np.random.default_rng(2), 16, 64)
    assert ground.shape == (16, 64, 64, 3)
    assert ground.dtype == np.uint8
    assert (np.abs(np.diff(ground.astype(int), axis=0)).max() > 0) == (kind == "film")


def test_a_film_shorter_than_the_video_is_played_to_and_fro():
    ground = draw_ground("film", np.random.default_rng(0), 100, 48)
    assert np.abs(np.diff(ground.astype(int), axis=0)).mean(axis=(1, 2, 3)).max() < 25  # no cut


def test_sprites_fit_their_circle_and_differ():
    y, x = np.mgrid[:34, :34] + 0.5 - 17
    outside = np.hypot(x, y) > 17.5
    pictures = [warp(shape_sprite(s, "red", t, 0, 1, 32), 32, 40) for s in SHAPES for t in TEXTURES]
    pictures += [warp(thing_sprite(name, False, 0, 1, 32), 32, 40) for name in THINGS]
    for picture in pictures:
        assert picture[outside].max() == 0
        assert (picture[..., :3] <= picture[..., 3:]).all()  # premultiplied: painting relies on it
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_assets_are_small_and_carry_their_licences():
    assert len(THINGS) == len(set(THINGS)) >= 100
    assert (ASSETS / "things.webp").stat().st_size + (ASSETS / "things.json").stat().st_size <= 1_500_000
    assert (ASSETS / "film.webp").stat().st_size <= 500_000
    assert "SIL OPEN FONT LICENSE" in (ASSETS / "OFL.txt").read_text(encoding="utf-8")
    assert "Blender Foundation" in (ASSETS / "FILM-LICENSE.txt").read_text(encoding="utf-8")
    with Image.open(ASSETS / "things.webp") as atlas:
        assert atlas.width * atlas.height >= len(THINGS) * 64 * 64


@pytest.mark.parametrize(
    "arguments",
    [
        {"difficulty": "harder"},
        {"level": "cars"},
        {"wants": ("colour",)},
        {"wants": ("motion",), "image": True},
        {"size": 16},
        {"frames": 4},
        {"wants": ("motion",), "difficulty": Difficulty("x", (2, 2), (30, 40), (30, 40), 0, 0, 0, 0, 0, EASY.grounds, ("spins",))},
    ],
)
def test_what_cannot_be_made_is_refused(arguments):
    with pytest.raises(ConfigError):
        make_scene(0, **arguments)


def test_a_difficulty_checks_itself():
    with pytest.raises(ConfigError, match="flies"):
        Difficulty("x", (1, 2), (30, 40), (30, 40), 0, 0, 0, 0, 0, NORMAL.grounds, ("flies",))
    with pytest.raises(ConfigError, match="objects"):
        Difficulty("x", (3, 2), (30, 40), (30, 40), 0, 0, 0, 0, 0, NORMAL.grounds)
