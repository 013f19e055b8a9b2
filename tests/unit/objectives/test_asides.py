"""What visual tokens and prompts are asked beside the answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vglamm.data.world import KINDS
from vglamm.data.world.tokenizer import build_tokenizer
from vglamm.data.world.words import SIZES, TEXTURES
from vglamm.errors import ConfigError
from vglamm.model import VideoGLaMM
from vglamm.objectives import objective
from vglamm.objectives.asides import (
    ASIDES,
    TIMES,
    Aside,
    frame_numbers,
    frames_said,
    word_ids,
    words_asked,
    words_told,
)
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
    given = objective("grounding", model, build_tokenizer(), branches=8, follow=0.0, times=1.0, **settings).preparer()
    return [{key: torch.from_numpy(value) for key, value in given(seed).items()} for seed in seeds]


def test_words_are_those_that_answers_say(model: VideoGLaMM) -> None:
    """Frames in answers about time, motions and marks in descriptions and relations: what is asked beside is what is said there."""
    tokenizer, told, moved, marked = build_tokenizer(), 0, 0, 0
    for item in prepared(model, range(40), orders=0.3, spans=0.4, coming=0.5, image_share=0.1):
        ids, branch = item["ids"], item["branch"]
        right = [
            ["-" if place < 0 else aside.words[place] for aside, place in zip(ASIDES, of, strict=True)]
            for of in zip(*(item[f"asked_{aside.name}"].tolist() for aside in ASIDES), strict=True)
        ]
        times = list(zip(item["timed"].tolist(), item["said_first"].tolist(), item["said_end"].tolist(), strict=True))
        for at, meant, kind in zip(item["segs"].tolist(), item["meant"].tolist(), item["meant_kinds"].tolist(), strict=True):
            first, end, motion, mark = right[meant]
            inside = branch == branch[at]
            before, after = tokenizer.decode(ids[:at][inside[:at]]), tokenizer.decode(ids[at + 2 :][inside[at + 2 :]])
            phrase = before.split("<p>")[-1].split()
            assert tokenizer.decode(ids[at + 1]).strip() == "[SEG]"
            assert bool(item["image"]) == ((first, end, motion) == ("-", "-", "-"))
            if KINDS[kind] == "when":
                told += 1
                assert f"frames:({first},{end})" in after.replace(" ", "")
                said = next((one, two) for of, one, two in times if of == meant and at < one < two and branch[one] == branch[at])
                assert tokenizer.decode(ids[[said[0] + 1, said[1] + 1]]).replace(" ", "") == first + end
            if KINDS[kind] == "description" and "moves" in before.split("<|assistant|>")[0]:
                moved += 1
                assert motion.strip() in after.replace(",", " ").replace(".", " ").split()[:2]
            if KINDS[kind] in ("description", "relation"):
                marked += mark != " no"
                assert (phrase[1] in (*TEXTURES, *SIZES)) == (mark != " no")
                assert mark == " no" or phrase[1] == mark.strip()
        assert len(times) == int((item["meant_kinds"] == KINDS.index("when")).sum())
    assert told > 30
    assert moved > 10
    assert marked > 3


@torch.no_grad()
def test_words_are_told_where_they_are_asked(model: VideoGLaMM) -> None:
    ids = word_ids(build_tokenizer())
    assert all(len(set(ids[aside.name])) == len(aside.words) for aside in ASIDES)
    head = model.language.lm.get_output_embeddings().weight
    hidden = torch.full((2, 40, head.shape[1]), 1e3)
    video = {
        "segs": torch.tensor([5, 20, 30]),
        "meant": torch.tensor([1, 0, 2]),
        "early": torch.tensor([2, 18, 28, 1]),
        "early_meant": torch.tensor([1, 0, 2, 1]),
        "asked_first": torch.tensor([0, 2, -1]),
        "asked_end": torch.tensor([8, 5, -1]),
        "asked_motion": torch.tensor([3, -1, -1]),
        "asked_mark": torch.tensor([0, 4, 1]),
        "timed": torch.tensor([1]),
        "said_first": torch.tensor([33]),
        "said_end": torch.tensor([35]),
    }
    image = video | {f"asked_{aside.name}": torch.full((3,), -1) for aside in ASIDES}
    for at, aside, word in (
        *((5, "first", 2), (6, "end", 5), (20, "first", 0), (21, "end", 8), (2, "mark", 4), (1, "mark", 4)),
        *((18, "mark", 0), (28, "mark", 1), (33, "first", 2), (35, "end", 5)),
    ):
        hidden[0, at] = head[ids[aside][word]] * 1e4
    hidden[0, 21] += head[ids["motion"][3]] * 1e4  # says the end and the motion, by words of two asides
    assert (words_asked(ASIDES, [video, image]), words_asked(ASIDES, [image])) == (4 + 1 + 4, 0)
    assert (words_asked(TIMES, [video, image]), words_asked(TIMES, [image])) == (2, 0)

    def told(asides: tuple[Aside, ...], *items: dict[str, Tensor]) -> tuple[float, dict[str, list[float]]]:
        loss, shares = words_told(asides, model.language, hidden, items, ids)
        return float(loss), {name: share.tolist() for name, share in shares.items()}

    loss, shares = told(ASIDES, video, image)
    assert loss < 1e-3
    assert shares == {"first": [1, 1], "end": [1, 1], "motion": [1, 1], "mark": [3, 3]}  # without what is usual
    loss, shares = told(TIMES, video, image)
    assert loss < 1e-3
    assert shares == {"first": [1, 1], "end": [1, 1]}
    hidden[0, 1] = head[ids["mark"][2]] * 1e4
    hidden[0, 35] = head[ids["end"][6]] * 1e4
    loss, shares = told(ASIDES, video, image)
    assert loss > 1
    assert shares["mark"] == [2, 3]
    loss, shares = told(TIMES, video, image)
    assert loss > 1
    assert shares == {"first": [1, 1], "end": [0, 1]}
    assert told(ASIDES, image, image) == told(TIMES, image, image) == (0, {})


def test_a_tokenizer_without_these_words_is_refused() -> None:
    class Letters:
        def encode(self, word: str, **_: bool) -> list[int]:
            return list(map(ord, word))

    with pytest.raises(ConfigError, match=r"' plain' in 6 tokens|' left' in 5 tokens"):
        word_ids(Letters())
