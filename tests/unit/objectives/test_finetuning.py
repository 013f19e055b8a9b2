"""Fine-tuning on real sets: what is drawn, what is taught, and that it is the published loss."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_jobs.train.loop import joined, moved, plain
from ray_jobs.train.recipes import load
from ray_jobs.train.record import read as read_record
from ray_jobs.train.run import run_local
from tests import fakes
from tests.unit.data.corpora.disk import LEFT, MIDDLE, RIGHT
from tests.unit.objectives import sets
from tests.unit.objectives.second_device import THERE, SecondDevice, put
from vglamm.data.corpora import read
from vglamm.data.corpora.lessons import lesson
from vglamm.data.corpora.mixture import HELD_OUT, Mixture
from vglamm.errors import ConfigError, CorpusError
from vglamm.freeze import train_only
from vglamm.loss import losses
from vglamm.model import Batch, VideoGLaMM
from vglamm.objectives import objective
from vglamm.presets import PRESETS

SHARES = {"mevis": 2.0, "ytvos_gcg": 1.0, "reason_seg": 1.0}
PUBLISHED = ["lora", "embeddings", "head", "projector", "mask_decoder", "adapters"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sets.write(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def tune(root: Path) -> Any:
    def made(**settings: Any) -> Any:
        torch.manual_seed(0)
        given = {"corpora": SHARES, "videos": str(root), "images": str(root / "images"), "held_out": 0.3, "frames": 2}
        return objective("finetuning", VideoGLaMM(fakes.config()), fakes.tokenizer(), **(given | settings))

    return made


def mixture(root: Path, **settings: Any) -> Mixture:
    return Mixture(**({"shares": SHARES, "videos": str(root), "images": str(root / "images"), "held_out": 0.3} | settings))


def drawn(found: Mixture, first: int, count: int = 1500) -> list[Any]:
    return [found.cases(number, np.random.default_rng(number))[0] for number in range(first, first + count)]


def test_sets_are_drawn_by_their_shares_and_cases_evenly(root):
    cases = drawn(mixture(root), 0)
    share = {name: sum(case.id.startswith(name) for case in cases) / len(cases) for name in SHARES}
    assert share == pytest.approx({"mevis": 0.5, "ytvos_gcg": 0.25, "reason_seg": 0.25}, abs=0.04)
    of_one = [case.id for case in cases if case.id.startswith("mevis")]
    assert {id: of_one.count(id) / len(of_one) for id in set(of_one)} == pytest.approx(dict.fromkeys(set(of_one), 0.5), abs=0.06)


def test_videos_that_are_held_out_are_never_learnt_from(root):
    found = mixture(root)
    learnt, held = ({case.video for case in drawn(found, first)} for first in (0, HELD_OUT))
    assert not learnt & held
    assert len(learnt | held) == 7, "every video is in one of the two"
    with pytest.raises(ConfigError, match="held_out 0"):
        drawn(mixture(root, held_out=0.0), HELD_OUT, 1)
    assert len({case.video for case in drawn(mixture(root, held_out=0.0), 0)}) == 7


def test_sets_that_share_videos_hold_out_the_same_ones(root, monkeypatch):
    [case, *_] = read("mevis", root, "train")

    def shared(name, root, split):
        for number in range(30 if name == "mevis" else 12):
            segment = {"segment": "2"} if name == "mevis_gcg" else {}
            place = root / f"JPEGImages/{number}" / ("2" if segment else "")
            yield replace(
                case, id=f"{name}/{number}", video=f"{name}/{number}", media=replace(case.media, uri=str(place)), meta=segment
            )

    monkeypatch.setattr("vglamm.data.corpora.mixture.read", shared)
    shelves = [mixture(root, shares={name: 1}).shelf(name) for name in ("mevis", "mevis_gcg", "ytvos_gcg")]
    learnt, held = (
        {case.video.split("/")[1] for shelf in shelves for group in getattr(shelf, part) for case in group}
        for part in ("learnt", "held")
    )
    assert not learnt & held
    assert len(learnt | held) == 30
    assert 4 < len(held) < 14


def test_a_mixture_travels_without_what_it_has_read(root):
    found = mixture(root)
    before = [case.id for case in drawn(found, 5, 20)]
    sent = pickle.dumps(found)
    assert len(sent) < 1000
    assert [case.id for case in drawn(pickle.loads(sent), 5, 20)] == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shares": {"mevis": 1, "vidstg": 1}}, r"corpora \['vidstg'\]"),
        ({"shares": {"gcg": 1}}, "corpora"),
        ({"shares": {}}, "above 0"),
        ({"shares": {"mevis": 0}}, "above 0"),
        ({"shares": {"mevis": 1, "ytvos_gcg": -1}}, "above 0"),
        ({"held_out": 1.0}, "held_out"),
        ({"images": None}, r"settings\.images"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_before_anything_is_read(root, settings, told):
    with pytest.raises(ConfigError, match=told):
        mixture(root, **settings)


def test_a_set_that_is_missing_or_too_small_says_so(root, tmp_path, caplog):
    with pytest.raises(CorpusError, match="refs"):
        mixture(root, shares={"refcoco": 1}).cases(0, np.random.default_rng(0))
    sets.mevis(tmp_path)
    (tmp_path / "mevis/train/JPEGImages/ab/00005.jpg").unlink()
    with pytest.raises(CorpusError, match=r"1 videos that can be used, 2 cases that cannot.*00005"):
        mixture(tmp_path, shares={"mevis": 1}).cases(0, np.random.default_rng(0))
    assert "2 cases cannot be learnt from" in caplog.text
    assert mixture(tmp_path, shares={"mevis": 1}, held_out=0.0).cases(0, np.random.default_rng(0))[0].video == "mevis/cd"


def test_lessons_are_asked_in_several_ways_with_a_seg_for_each_phrase(root):
    found = mixture(root, held_out=0.0)
    turns = {name: [lesson(case, np.random.default_rng(i)) for i in range(60) for case in shelf(found, name)] for name in SHARES}
    assert {turn.answer for turn in turns["ytvos_gcg"]} == {"<p> A dog </p> [SEG] sees <p> all of  them </p> [SEG]."}
    assert len({turn.question for turn in turns["ytvos_gcg"]}) == 6
    dog = {turn.question for turn in turns["mevis"] if "dog" in turn.question}
    assert len(dog) == 4
    assert "What is the dog on the left in this video? Please respond with segmentation masks." in dog
    assert len({turn.answer for turn in turns["mevis"]}) == 5
    assert all("What would one sit on?" in turn.question for turn in turns["reason_seg"])


def shelf(found: Mixture, name: str) -> list[Any]:
    return [case for cases in found.shelf(name).learnt for case in cases]


def test_a_sample_is_what_ask_would_see_with_the_masks_of_its_frames(tune):
    made = tune(corpora={"mevis": 1.0}, questions=2, frames=3)
    item = made.preparer()(3)
    vision = made.model.config.vision
    assert item["spatial"].shape == (vision.frames, 3, vision.spatial.image_size, vision.spatial.image_size)
    assert len(item["ids"]) == len(item["masks"]) == 2
    kinds = {int(mask[0, 2].sum()): mask[0] for mask in item["masks"]}
    np.testing.assert_array_equal(kinds[LEFT.sum()], np.stack([LEFT] * 3))
    np.testing.assert_array_equal(kinds[(RIGHT | MIDDLE).sum()], np.stack([LEFT & ~LEFT, LEFT & ~LEFT, RIGHT | MIDDLE]))
    again = pickle.loads(pickle.dumps(made.preparer()))(3)
    np.testing.assert_array_equal(again["frames"], item["frames"])
    np.testing.assert_array_equal(again["ids"][1], item["ids"][1])


def test_frames_that_show_the_object_are_looked_for(tune):
    """The two cats are on one frame of three: one frame drawn at random shows them every third time, of four draws four in five."""
    made = tune(corpora={"mevis": 1.0}, frames=1)
    masks = [item["masks"][0] for item in map(made.preparer(), range(60))]
    cats = [bool(mask.any()) for mask in masks if mask.sum() in (0, (RIGHT | MIDDLE).sum())]
    assert len(cats) > 15
    assert np.mean(cats) > 0.6


def test_pixels_to_ignore_are_minus_one(tune):
    item = tune(corpora={"reason_seg": 1.0}).preparer()(0)
    assert item["temporal"] is None
    mask = item["masks"][0][0, 0]
    assert (mask[10, 10], mask[10, 45], mask[10, 30]) == (1, -1, 0)


def test_the_loss_is_the_published_one_and_a_cut_batch_sums_to_the_whole(tune):
    made = tune().eval()
    items = [made.preparer()(number) for number in range(6)]
    assert len({item["frames"].shape for item in items}) > 1, "of several sizes"
    whole = made.collate(items)
    batch = Batch(**whole)
    expected = losses(made.model.language, made.model(batch), batch)
    totals = made.count(whole)
    torch.testing.assert_close(made(whole, totals)["loss"], expected.total)
    halves = [made.collate(items[:2]), made.collate(items[2:])]
    torch.testing.assert_close(sum(made.count(half) for half in halves), totals)
    torch.testing.assert_close(sum(made(half, totals)["loss"] for half in halves), expected.total, atol=1e-4, rtol=1e-4)


def test_weights_in_half_precision_lose_about_as_much(tune):
    """Parameters alone are cast, as DeepSpeed does it: buffers stay exact."""
    made = tune().eval()
    batch = made.collate([made.preparer()(number) for number in range(4)])
    totals = made.count(batch)
    expected = made(batch, totals)["loss"]
    for parameter in made.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    found = made(batch, totals)["loss"]
    found.backward()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.0)


@pytest.mark.parametrize("name", ["ytvos_gcg", "reason_seg"])
def test_every_micro_batch_reaches_every_trained_parameter(tune, name):
    """Images alone as well: ranks that see other kinds of samples must still add up gradients of the same parameters."""
    reached = []
    for several in (name, "mevis"):
        made = tune(corpora={several: 1.0})
        train_only(made, ["adapters", "language", "mask_decoder"])
        batch = made.collate([made.preparer()(number) for number in range(2)])
        made(batch, made.count(batch))["loss"].backward()
        reached.append({key for key, parameter in made.named_parameters() if parameter.grad is not None})
    assert reached[0] == reached[1]
    assert any(".temporal_adapter." in key for key in reached[0])


def test_validation_tells_the_terms_and_the_overlap_where_the_object_is(tune):
    made = tune().eval()
    items = [made.preparer()(HELD_OUT + i) for i in range(4)]
    totals = made.count(made.collate(items))
    whole, cut = (
        joined([plain(made.validate(made.collate(items[i : i + size]), totals)) for i in range(0, 4, size)]) for size in (4, 1)
    )
    assert set(whole) == {"loss", "ce", "bce", "dice", "token", "iou"}
    assert 0 <= whole["iou"] <= 1
    assert cut == pytest.approx(whole, abs=1e-4)
    pictures = made.pictures(made.collate(items[:2]))
    assert len(pictures) == 2
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in pictures.values())


def test_everything_stays_on_the_device_of_the_model(tune):
    made = tune()
    put(made)
    batch = made.collate([made.preparer()(number) for number in range(4)])
    totals = made.count(batch)
    with SecondDevice():
        there, shares = moved(batch, THERE), totals.to(THERE)
        assert made.train()(there, shares)["loss"].device == THERE
        made.eval().validate(there, shares)
        assert len(made.pictures(there)) == 4


def test_the_shipped_recipe_is_the_published_one():
    recipe = load("videoglamm")
    assert recipe.objective == "finetuning"
    assert recipe.preset in PRESETS
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout, recipe.lora.targets) == (8, 16, 0.05, ("qkv_proj",))
    assert list(recipe.train) == PUBLISHED
    assert (recipe.optimiser.lr, recipe.optimiser.betas, recipe.optimiser.weight_decay) == (3e-4, (0.9, 0.95), 0.0)
    assert (recipe.optimiser.warmup, recipe.optimiser.decay, recipe.optimiser.clip) == (100, "linear", 1.0)
    assert (recipe.batch.per_worker, recipe.batch.accumulation, recipe.zero, recipe.precision) == (2, 10, 2, "bf16")
    Mixture(recipe.settings["corpora"], recipe.settings["videos"], recipe.settings["images"])


def test_the_shipped_recipe_tunes_a_small_model_on_these_sets(root, tmp_path):
    """The recipe as it is, but for the model, the sets and what a CPU cannot do; what it does not name stays as it was."""
    from vglamm import checkpoint

    torch.manual_seed(1)
    base = VideoGLaMM(fakes.config())
    checkpoint.save(base, tmp_path / "base", tokenizer=fakes.tokenizer())
    recipe = load(
        "videoglamm",
        [f"preset={tmp_path / 'base'}", f"tokenizer={tmp_path / 'base'}", f"init.all={tmp_path / 'base'}", f"storage={tmp_path}",
         f"settings.videos={root}", f"settings.images={root / 'images'}", "settings.held_out=0.3", "gpu=false", "steps=12",
         *(f"settings.corpora.{name}=0" for name in load("videoglamm").settings["corpora"] if name not in SHARES),
         "batch={per_worker: 3, accumulation: 1}", "workers=1",
         "precision=fp32", "zero=0", "optimiser={lr: 3e-3, warmup: 2}", "data.producers=0", "log={every: 4, tracking: off}",
         "validation={every: 12, count: 4, pictures: 1}"],
    )  # fmt: skip
    last = run_local(recipe)
    lines = read_record(recipe.folder, "steps")
    first, end = (np.mean([line["loss"] for line in part]) for part in (lines[:3], lines[-3:]))
    assert end < 0.8 * first
    before, after = base.state_dict(), checkpoint.load(last).state_dict()
    moved = {name for name, tensor in before.items() if name in after and not torch.equal(tensor, after[name])}
    assert any(".sam_mask_decoder." in name for name in moved)
    assert not [name for name in moved if name.startswith(("vision.spatial.", "vision.temporal.", "pixel.sam.image_encoder"))]
    checked = read_record(recipe.folder, "validation")
    assert checked[-1]["ce"] < checked[0]["ce"]
