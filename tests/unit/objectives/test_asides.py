"""What visual tokens and prompts are asked beside the answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vglamm.data.world import KINDS
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.model import VideoGLaMM
from vglamm.objectives import objective
from vglamm.objectives.asides import frame_numbers, frames_said, moments_asked, moments_told, neighbours_asked, neighbours_shown
from vglamm.presets import preset


@pytest.fixture(scope="module")
def model() -> VideoGLaMM:
    torch.manual_seed(0)
    return VideoGLaMM(preset("tiny")).eval()


@torch.no_grad()
def test_a_spatial_token_changes_with_the_frame_of_its_number_alone(model: VideoGLaMM) -> None:
    vision = model.config.vision
    numbers, spatial = frame_numbers(vision), vision.frames * vision.spatial_pool**2
    assert len(numbers) == vision.video_tokens
    looks, moves = (
        torch.randint(0, 256, (vision.frames, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        for side in (vision.spatial.image_size, vision.temporal.image_size)
    )
    [before] = model.vision.encode([looks], [moves])
    for frame in (0, 3, 7):
        other = looks.clone()
        other[frame] = 255 - other[frame]
        [after] = model.vision.encode([other], [moves])
        changed = (after != before).any(-1)
        assert torch.equal(changed[:spatial], numbers[:spatial] == frame)


def said(model: VideoGLaMM, numbers: Tensor, items: list[dict[str, Tensor]]) -> float:
    """The loss where each token tells the frame ``numbers`` say, without doubt, and what is not asked tells nonsense."""
    digits = list(range(100, 100 + model.config.vision.frames))
    head = model.language.lm.get_output_embeddings().weight
    halfway = torch.full((len(items), 500, head.shape[1]), 1e3)
    for row, item in enumerate(items):
        start, shown = int(item["start"]), item["shown"]
        told = head[digits][numbers][: len(shown)] * 1e3
        halfway[row, start : start + len(shown)] = torch.where(shown[:, None], told, halfway[row, start : start + len(shown)])
    with torch.no_grad():
        return float(frames_said(model.language, model.config.vision, halfway, items, digits))


def test_the_loss_is_of_tokens_that_show_something_in_videos_alone(model: VideoGLaMM) -> None:
    numbers = frame_numbers(model.config.vision)
    shown = torch.rand(len(numbers), generator=torch.Generator().manual_seed(2)) < 0.3
    video = {"start": torch.tensor(7), "shown": shown, "image": torch.tensor(False)}
    other = {"start": torch.tensor(31), "shown": ~shown, "image": torch.tensor(False)}
    image = {**video, "image": torch.tensor(True)}
    blind = {**video, "shown": torch.zeros(1, dtype=torch.bool)}
    right = said(model, numbers, [video])
    wrong = said(model, numbers.roll(150), [video])
    assert right < math.log(8) * int(shown.sum()) < wrong
    assert said(model, numbers, [image, blind]) == 0
    assert said(model, numbers, [image, video, blind, other]) == pytest.approx(right + said(model, numbers, [other]), rel=1e-5)


def prepared(model: VideoGLaMM, seeds: range, **settings: float) -> list[dict[str, Tensor]]:
    given = objective("grounding", model, build_tokenizer(), branches=8, **settings).preparer()
    return [{key: torch.from_numpy(value) for key, value in given(seed).items()} for seed in seeds]


def test_prompts_are_asked_for_the_frames_that_answers_about_time_say(model: VideoGLaMM) -> None:
    tokenizer, told = build_tokenizer(), 0
    for item in prepared(model, range(30), spans=0.6, coming=0.5, image_share=0.1):
        ids, branch = item["ids"], item["branch"]
        if bool(item["image"]):
            assert bool((item["spans"] == -1).all())
        for at, meant, kind in zip(item["segs"].tolist(), item["meant"], item["meant_kinds"].tolist(), strict=True):
            assert tokenizer.decode(ids[at + 1]).strip() == "[SEG]"
            if KINDS[kind] == "when":
                said = tokenizer.decode(ids[at + 1 :][branch[at + 1 :] == branch[at]]).replace(" ", "")
                start, end = item["spans"][meant].tolist()
                told += 1
                assert f"frames:({start},{end})" in said.split("<|end|>")[0]
    assert told > 30


def test_prompts_are_asked_for_what_descriptions_name_next(model: VideoGLaMM) -> None:
    tokenizer, parts, wholes = build_tokenizer(), 0, 0
    for seed, item in enumerate(prepared(model, range(30), orders=0.6, image_share=0.1, follow=0.0)):
        right = item["right"].tolist()
        for number in item["branch"][item["segs"]].unique():
            here = item["branch"][item["segs"]] == number
            objects, kinds = item["meant"][here].tolist(), item["meant_kinds"][here]
            question = tokenizer.decode(item["ids"][item["branch"] == number])
            if "moves" in question or not bool((kinds == KINDS.index("description")).all()):
                continue
            parts += len(objects) - 1
            assert [right[one] for one in objects[:-1]] == objects[1:]
            if "video" in question or "image" in question:
                wholes += 1
                assert right[objects[-1]] == len(right), "nothing stands right of the last"
        assert (right == [-1] * len(right)) or (max(right) == len(right) and min(right) >= 0), seed
    assert parts > 30
    assert wholes > 5


@torch.no_grad()
def test_moments_are_told_by_the_states_before_and_at_seg(model: VideoGLaMM) -> None:
    marks = list(range(100, 101 + model.config.vision.frames))
    head = model.language.lm.get_output_embeddings().weight
    hidden = torch.full((2, 40, head.shape[1]), 1e3)
    video = {"segs": torch.tensor([5, 20, 30]), "meant": torch.tensor([1, 0, 2]), "spans": torch.tensor([[0, 8], [2, 5], [-1, -1]])}
    image = {"segs": torch.tensor([7]), "meant": torch.tensor([0]), "spans": torch.tensor([[-1, -1]])}
    for at, frame in ((5, 2), (6, 5), (20, 0), (21, 8)):
        hidden[0, at] = head[marks][frame] * 1e4
    assert (moments_asked([video, image]), moments_asked([image])) == (4, 0)
    loss, shares = moments_told(model.language, hidden, [video, image], marks)
    assert float(loss) < 1e-3
    assert shares["inside"].tolist() == [2, 2]
    hidden[0, 6] = head[marks][4] * 1e4
    wrong, shares = moments_told(model.language, hidden, [video, image], marks)
    assert float(wrong) > 1
    assert shares["inside"].tolist() == [1, 2]
    none, shares = moments_told(model.language, hidden, [image, image], marks)
    assert float(none) == 0
    assert shares == {}


@torch.no_grad()
def test_neighbours_are_shown_by_the_state_of_seg(model: VideoGLaMM) -> None:
    language, generator = model.language, torch.Generator().manual_seed(3)
    hidden = torch.randn(1, 12, language.lm.config.hidden_size, generator=generator)
    at, asked = [2, 5, 8], language.prompts_at(hidden[0, [3, 6]]).float()
    item = {
        "segs": torch.tensor(at),
        "meant": torch.tensor([0, 1, 2]),
        "right": torch.tensor([1, 3, -1]),
        "meant_kinds": torch.tensor([0, 1, 1]),
        "codes": torch.stack([-asked[0], asked[0], asked[1]]),
    }
    error, shares = neighbours_shown(language, hidden, [item])
    assert neighbours_asked([item]) == 2
    assert float(error) == pytest.approx(float(asked[1].square().mean()), rel=1e-5), "zeros right of the last"
    assert (shares[KINDS[0]].tolist(), shares[KINDS[1]].tolist()) == ([1, 1], [0, 1])
