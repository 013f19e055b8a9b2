"""Each objective prepares, collates, counts and learns; its sums do not depend on how a batch is cut."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from ray_jobs.train.loop import joined, moved, plain
from ray_jobs.train.recipes import load
from tests.unit.objectives.second_device import THERE, SecondDevice, put
from vglamm.data.world import KINDS
from vglamm.data.world.codes import word_codes
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.errors import ConfigError
from vglamm.freeze import train_only
from vglamm.model import VideoGLaMM
from vglamm.objectives import objective
from vglamm.presets import preset
from vglamm.source import PARTS

BESIDE = {"frames": 0.5, "early": 0.5, "asides": 0.5, "lasts": 0.5, "times": 0.5}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("perception", "vision", {"dense": True}),
    ("perception", r"vision\.spatial.*", {"dense": True, "towers": ["spatial"], "image": True, "difficulty": "crowded"}),
    ("segmentation", "pixel", {"track": 2, "single": 1}),
    ("grounding", "language", {"tokens": "codes", "branches": 2, "noise": 0.0, "hide": 0.0} | BESIDE),
    (
        "grounding",
        "language",
        {"tokens": "frames", "masks": True, "branches": 2, "track": 2, "single": 2, "absent": 1.0} | BESIDE,
    ),
]
LABELS = ["perception", "perception-images", "segmentation", "grounding-codes", "grounding-masks"]


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    torch.manual_seed(0)
    return VideoGLaMM(preset("tiny"))


@pytest.fixture(autouse=True)
def _no_gradients_left(model: VideoGLaMM) -> Iterator[None]:
    yield
    model.zero_grad(set_to_none=True)


def build(model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]) -> Any:
    made = objective(name, model, build_tokenizer(), **settings)
    train_only(made, [part])
    return made


def objective_item(made: Any, seed: int, image: bool) -> dict[str, Any]:
    """What the objective prepares of a video or of an image, whichever the seed would have been."""
    return dict(replace(made.preparer(), image_share=float(image))(seed))


def unprompted(item: dict[str, Any]) -> dict[str, Any]:
    """The same sample with no prompt that masks are made for."""
    return {**item, **{key: item[key][:0] for key in ("picked", "masks", "twin")}}


@pytest.mark.parametrize(("name", "part", "settings"), CASES, ids=LABELS)
def test_a_cut_batch_sums_to_the_whole(model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]) -> None:
    made = build(model, name, part, settings)
    items = [made.preparer()(seed) for seed in (1, 2, 3)]
    whole = made.collate(items)
    totals = made.count(whole)
    halves = [made.collate(items[:1]), made.collate(items[1:])]
    torch.testing.assert_close(sum(made.count(half) for half in halves), totals)
    torch.manual_seed(5)
    expected = made(whole, totals)["loss"]
    torch.manual_seed(5)
    found = sum(made(half, totals)["loss"] for half in halves)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(("name", "part", "settings"), CASES, ids=LABELS)
def test_gradients_reach_the_trained_part_alone(model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]) -> None:
    made = build(model, name, part, settings)
    batch = made.collate([made.preparer()(seed) for seed in (1, 2)])
    made(batch, made.count(batch))["loss"].backward()
    touched = {key.split(".")[0] for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert touched == {part.split("\\")[0]}


@pytest.mark.parametrize(("name", "part", "settings"), CASES, ids=LABELS)
def test_preparers_travel_without_weights_and_repeat(model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]) -> None:
    preparer = build(model, name, part, settings).preparer()
    sent = pickle.dumps(preparer)
    assert len(sent) < 2_000_000
    once, again = preparer(4), pickle.loads(sent)(4)
    assert once.keys() == again.keys()
    for key, value in once.items():
        assert (value == again[key]).all(), key


def test_a_batch_without_prompts_still_runs_pixel(model: VideoGLaMM) -> None:
    made = build(model, "grounding", "pixel", {"tokens": "frames", "masks": True, "branches": 2, "track": 2})
    batch = made.collate([unprompted(made.preparer()(1))])
    made(batch, made.count(batch))["loss"].backward()
    trunk = model.pixel.sam.image_encoder.trunk.patch_embed.proj.weight
    assert trunk.grad is not None
    assert float(trunk.grad.abs().sum()) == 0.0


def test_every_micro_batch_reaches_every_trained_parameter(model: VideoGLaMM) -> None:
    """Ranks that see images alone, or nothing to prompt, must still add up gradients of the same parameters."""
    recipe = load("world-ray")
    made = objective(recipe.objective, model, build_tokenizer(), **recipe.settings)
    train_only(made, list(recipe.train))
    videos, images = ([objective_item(made, seed, image) for seed in (1, 2)] for image in (False, True))
    cases = {"videos": videos, "images": images, "both": [videos[0], images[0]]}
    cases |= {f"{name} without prompts": [unprompted(item) for item in items] for name, items in list(cases.items())}
    reached = {}
    for name, items in cases.items():
        model.zero_grad(set_to_none=True)
        batch = made.collate(items)
        made(batch, made.count(batch))["loss"].backward()
        reached[name] = {key for key, parameter in made.named_parameters() if parameter.grad is not None}
    assert {part for part in PARTS if any(f"{part}." in key for key in reached["videos"])} == set(PARTS)
    for name, found in reached.items():
        assert found == reached["videos"], f"{name}: {sorted(found ^ reached['videos'])}"


def test_shares_of_scenes_are_as_set(model: VideoGLaMM) -> None:
    """All videos with twins and asked for motion alone; or none with twins, and something that comes or goes in each."""
    settings = {"tokens": "codes", "branches": 6, "image_share": 0.0, "follow": 0.0}
    moving = build(model, "grounding", "language", {**settings, "twins": 1.0, "motions": 1.0}).preparer()
    coming = build(model, "grounding", "language", {**settings, "twins": 0.0, "coming": 1.0}).preparer()
    plain = build(model, "grounding", "language", {**settings, "twins": 0.0}).preparer()
    kinds = [{KINDS[k] for seed in range(12) for k in given(seed)["kinds"] if k >= 0} for given in (moving, coming, plain)]
    assert kinds[0] == {"motion"}
    assert {"when", "look", "description"} <= kinds[1] - {"motion"}
    asked = [sum(KINDS[k] == "when" for seed in range(12) for k in given(seed)["kinds"] if k >= 0) for given in (coming, plain)]
    assert asked[0] >= 12
    for lessons, kind in (("orders", "description"), ("spans", "when")):
        given = build(model, "grounding", "language", {**settings, "twins": 0.0, "coming": 1.0, lessons: 1.0}).preparer()
        found = [[KINDS[k] for k in given(seed)["kinds"]] for seed in range(12)]
        assert sum(set(some) == {kind} for some in found) > sum(set(some) != {kind} for some in found)
    hard = build(model, "grounding", "language", {**settings, "hard_share": 1.0}).preparer()
    many, few = (sum(len(given(seed)["codes"]) for seed in range(30)) for given in (hard, plain))
    assert many > few + 15, "objects in thirty scenes"
    assert (coming(3)["ids"].shape != plain(3)["ids"].shape) or (coming(3)["ids"] != plain(3)["ids"]).any()


def test_a_scene_that_nothing_it_was_to_be_asked_fits_is_asked_the_rest(model: VideoGLaMM) -> None:
    """Two purple rings: neither has a look of its own, and nothing is near enough to them to be missed."""
    shares = {"easy_share": 0.1, "hard_share": 0.2, "image_share": 0.2, "presence": 0.2, "twins": 0.3, "coming": 0.3}
    item = build(model, "grounding", "language", {"branches": 8, **shares}).preparer()(3108953)
    assert {KINDS[kind] for kind in item["kinds"] if kind >= 0} >= {"motion"}


def test_an_object_is_asked_for_early_where_nothing_is_said_of_it_yet(model: VideoGLaMM) -> None:
    tokenizer = build_tokenizer()
    given = build(model, "grounding", "language", {"branches": 6, "bindings": 0.3, "image_share": 0.0}).preparer()
    begun = 0
    for item in map(given, range(20)):
        segs, meant, branch = item["segs"].tolist(), item["meant"].tolist(), item["branch"]
        opened = []
        for at, wanted, kind in zip(
            item["early"].tolist(), item["early_meant"].tolist(), item["early_kinds"].tolist(), strict=True
        ):
            said = tokenizer.decode(item["ids"][: at + 1][branch[: at + 1] == branch[at]])
            begun += said.endswith("<|assistant|>\n")
            if said.endswith("<p>"):
                opened.append(at)
            else:
                assert said.endswith("<|assistant|>\n")
            following = min(seg for seg in segs if seg > at)  # the prompt of the phrase that comes next
            assert (branch[following], meant[segs.index(following)]) == (branch[at], wanted)
            assert item["meant_kinds"][segs.index(following)] == kind
        assert len(opened) == len(segs), "one for each phrase"
    assert begun > 60


def test_learning_two_clips_by_heart(model: VideoGLaMM) -> None:
    made = build(model, "grounding", "language", {"tokens": "codes", "branches": 2, "noise": 0.0, "hide": 0.0})
    batch = made.collate([made.preparer()(seed) for seed in (1, 2)])
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    first = last = 0.0
    for step in range(12):
        loss = made(batch, made.count(batch))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (float(loss.detach()) if step == 0 else first), float(loss.detach())
    assert last < first / 2


def test_leaving_out_the_ground_changes_nothing_for_what_does_not_look_at_it(model: VideoGLaMM) -> None:
    """With every visual token kept the thinned path is the whole one; with few it is another."""
    settings = {"tokens": "codes", "branches": 2, "noise": 0.0, "hide": 0.0}
    made = build(model, "grounding", "language", settings)
    batch = made.collate([made.preparer()(seed) for seed in (1, 2)])
    totals = made.count(batch)
    whole = float(made(batch, totals)["loss"].detach())
    losses = {}
    for share in (0.999999, 0.0):
        thin = build(model, "grounding", "language", {**settings, "ground": share})
        torch.manual_seed(0)
        losses[share] = float(thin(batch, totals)["loss"].detach())
    assert losses[0.999999] == pytest.approx(whole, abs=1e-5)
    assert losses[0.0] != pytest.approx(whole, abs=1e-5)


def test_words_begin_as_the_codes_of_what_they_name() -> None:
    model = VideoGLaMM(preset("tiny"))
    tokenizer = build_tokenizer()
    objective("grounding", model, tokenizer, fresh=True)
    read, written = (get().weight for get in (model.language.lm.get_input_embeddings, model.language.lm.get_output_embeddings))
    torch.testing.assert_close(read, written)
    red = torch.from_numpy(word_codes(192)["red"])
    torch.testing.assert_close(read[tokenizer.convert_tokens_to_ids("\u0120red")], red)
    attention = model.language.trunk.layers[0].self_attn.qkv_proj.weight
    torch.testing.assert_close(attention[:192], attention[192:384])


def test_unknown_names_and_settings_are_refused(model: VideoGLaMM) -> None:
    with pytest.raises(ConfigError, match="one of"):
        objective("nothing", model, build_tokenizer())
    with pytest.raises(ConfigError, match="colour"):
        objective("perception", model, build_tokenizer(), colour="red")
    with pytest.raises(ConfigError, match="towers"):
        objective("perception", model, build_tokenizer(), towers=["temporal"], image=True)
    with pytest.raises(ConfigError, match="codes"):
        objective("grounding", model, build_tokenizer(), tokens="sounds")


@pytest.mark.parametrize(
    ("name", "setting"),
    [("grounding", {"code": "much"}), ("grounding", {"branches": 2.5}), ("grounding", {"masks": 1}),
     ("segmentation", {"track": "5"}), ("perception", {"dense": "no"}), ("segmentation", {"fresh": 0})],
)  # fmt: skip
def test_settings_of_another_type_are_refused_before_training(model: VideoGLaMM, name: str, setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"settings\.{next(iter(setting))}=.*type"):
        objective(name, model, build_tokenizer(), **setting)


@pytest.mark.parametrize(("name", "part", "settings"), [CASES[2], CASES[4]], ids=["segmentation", "grounding-masks"])
def test_pictures_are_strips_of_frames(model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]) -> None:
    made = build(model, name, part, settings).eval()
    items = [made.preparer()(seed) for seed in (1, 2)]
    strips = made.pictures(made.collate(items))
    assert strips
    for strip in strips.values():
        assert strip.dtype == "uint8"
        assert strip.shape == (128, 128 * len(items[0]["frames"]), 3)


def test_validation_tells_overlap_and_exactness_by_kind(model: VideoGLaMM) -> None:
    made = build(model, *CASES[4]).eval()
    batch = made.collate([made.preparer()(seed) for seed in range(1, 5)])
    found = made.validate(batch, made.count(batch))
    assert any(name.startswith("mask_iou_") and name.removeprefix("mask_iou_") in KINDS for name in found)
    assert any(name.startswith("exact_") for name in found)
    assert {"ce", "code", "frames", "mask_bce", "mask_dice", "mask_objectness"} <= set(found)


@pytest.mark.parametrize(("name", "part", "settings"), CASES, ids=LABELS)
def test_validation_does_not_depend_on_how_the_items_are_cut(
    model: VideoGLaMM, name: str, part: str, settings: dict[str, Any]
) -> None:
    made = build(model, name, part, settings).eval()
    items = [made.preparer()(seed) for seed in range(1, 5)]
    totals = made.count(made.collate(items))
    found = []
    for size in (4, 3, 1):
        batches = [made.collate(items[i : i + size]) for i in range(0, len(items), size)]
        found.append(joined([plain(made.validate(batch, totals)) for batch in batches]))
    assert found[1] == pytest.approx(found[0], abs=2e-3)
    assert found[2] == pytest.approx(found[0], abs=2e-3)


@pytest.mark.parametrize(("name", "part", "settings"), CASES, ids=LABELS)
def test_everything_stays_on_the_device_of_the_model(name: str, part: str, settings: dict[str, Any]) -> None:
    made = build(VideoGLaMM(preset("tiny")), name, part, settings)
    if name == "grounding":
        made.ground = 0.5
    put(made)
    items = [made.preparer()(seed) for seed in (1, 2)]
    batches = [made.collate(items)]
    if settings.get("masks"):
        batches.append(made.collate([unprompted(item) for item in items]))
    for batch in batches:
        totals = made.count(batch)
        with SecondDevice():
            there, shares = moved(batch, THERE), totals.to(THERE)
            assert made.train()(there, shares)["loss"].device == THERE
            made.eval().validate(there, shares)
            if hasattr(made, "pictures"):
                made.pictures(there)
