"""The model against itself: every fast path gives what the slow obvious one gives, and drivers may cut and batch as they like."""

import copy
import io
import pickle
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import fakes
from tests.writing import written
from vglamm import checkpoint
from vglamm.compose import compose
from vglamm.frames import choose, end_of, grounding_source, open_frames, vision_input
from vglamm.model import VideoGLaMM
from vglamm.pixel.decoder import Pixel
from vglamm.pixel.prepare import prepare
from vglamm.pixel.track import Tracker
from vglamm.records import PixelInput, VisionInput, VisualTokens
from vglamm.steps.language import LanguageStep
from vglamm.steps.pixel import PixelStep, PixelTask
from vglamm.steps.vision import VisionStep
from vglamm.walk import Walk

FAMILIES = [("phi3", None), ("phi3", 20), ("llama", None), ("qwen2", 20), ("qwen3", None), ("qwen3", 20)]
EXACT = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def dialogue_inputs(model: VideoGLaMM, question: str) -> Tensor:
    """float[L, D]: a prompt with 32 visual tokens of a fake video."""
    step = LanguageStep(model.language, fakes.tokenizer())
    [seen] = VisionStep(model.vision)([prepared_video(seed=1)])
    dialogue = step.scribe.ask((), question, visual=32, frames=4)
    ids = torch.from_numpy(dialogue.ids)[None]
    return model.language.fuse(model.language.embed(ids), [torch.from_numpy(seen.tokens)], [dialogue.start])[0]


def prepared_video(*, seed: int = 0) -> VisionInput:
    source = open_frames(fakes.video(4, seed=seed), fps=4.0)
    return vision_input(source, choose(source, fakes.config(), every_frame=True), fakes.config())


@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_teacher_forced_is_prefill_and_extend(kind, window):
    model = fakes.model(fakes.config(fakes.language_config(kind, sliding_window=window)))
    language, row = model.language, dialogue_inputs(model, "what?")
    ids = torch.randint(3, fakes.VOCABULARY, (24,))
    whole = torch.cat([row, language.embed(ids)])[None]
    forced, _ = language.prefill(whole, torch.ones(whole.shape[:2]), cached=False)
    hidden, cache = language.prefill(row[None], torch.ones(1, len(row)))
    made, seen = [hidden], len(row)
    for part in ids.split([1, 1, 5, 1, 16]):  # one at a time and several
        seen += len(part)
        made.append(language.extend(part[None], torch.ones(1, seen), cache))
    torch.testing.assert_close(torch.cat(made, dim=1), forced, **EXACT)


@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_naive_is_cached_with_visual_tokens(kind, window):
    model = fakes.model(fakes.config(fakes.language_config(kind, sliding_window=window)))
    rows = [dialogue_inputs(model, "what?"), dialogue_inputs(model, "which one of them moves, and how far?")]
    for row, tokens in zip(rows, written(model.language, rows, 12), strict=True):
        whole = row[None]
        for token in tokens:
            hidden, _ = model.language.prefill(whole, torch.ones(whole.shape[:2]), cached=False)
            torch.testing.assert_close(token.hidden, hidden[0, -1], **EXACT)
            torch.testing.assert_close(token.logits, model.language.logits(hidden[0, -1]), **EXACT)
            assert int(token.logits.argmax()) == token.id
            whole = torch.cat([whole, model.language.embed(torch.tensor([[token.id]]))], dim=1)


def test_a_batch_of_one_is_the_same_item_in_a_batch_of_three():
    model = fakes.talker()
    vision, language = VisionStep(model.vision), LanguageStep(model.language, fakes.tokenizer())
    seen = vision([prepared_video(seed=s) for s in range(3)])
    asked = [(tokens, (), question) for tokens, question in zip(seen, ("what?", "who moves here?", "a"), strict=True)]
    together = language(asked)
    for b in range(3):
        [alone_seen] = vision([prepared_video(seed=b)])
        np.testing.assert_allclose(alone_seen.tokens, seen[b].tokens, atol=2e-5)
        [alone] = language(asked[b : b + 1])
        assert (alone.raw, alone.tokens, alone.finish) == (together[b].raw, together[b].tokens, together[b].finish)
        np.testing.assert_allclose(alone.prompts, together[b].prompts, atol=1e-4)


def by_npz(record: Any) -> Any:
    """A record of arrays and plain values through a .npz file."""
    fields, file = asdict(record), io.BytesIO()
    np.savez(file, **{name: value for name, value in fields.items() if isinstance(value, np.ndarray)})
    file.seek(0)
    return type(record)(**{**fields, **np.load(file)})


def test_the_whole_is_three_parts_through_the_wire(tmp_path):
    """Each part loaded alone from its file, every record that crosses a border pickled or written to a file."""
    checkpoint.save(fakes.talker(), tmp_path, tokenizer=fakes.tokenizer())
    config, video = checkpoint.load_config(tmp_path), fakes.video(10)
    whole = Walk.of(checkpoint.load(tmp_path), fakes.tokenizer()).ask(video, "what?", fps=10.0)
    wire = lambda record: pickle.loads(pickle.dumps(record))  # noqa: E731

    source = wire(open_frames(video, fps=10.0))
    sampling = wire(choose(source, config, fps=10.0))
    given: VisionInput = by_npz(wire(vision_input(source, sampling, config)))
    seen: VisualTokens = by_npz(wire(VisionStep(checkpoint.load(tmp_path, part="vision"))([given])[0]))
    speaker = LanguageStep(checkpoint.load(tmp_path, part="language"), checkpoint.load_tokenizer(tmp_path))
    reply = wire(speaker([(seen, (), "what?")])[0])
    chunks: list[PixelInput] = [by_npz(wire(part)) for part in grounding_source(source, sampling, config)(0, 10)]
    found = wire(PixelStep(checkpoint.load(tmp_path, part="pixel"))([PixelTask(chunks, reply.prompts, 10)])[0])
    answer = wire(compose("what?", reply, found, sampling, source="<array>", model=whole.model, end=end_of(source)))
    assert replace(whole, timings={}) == answer


@pytest.fixture
def pixel() -> Pixel:
    return fakes.golden_pixel()[0]


@pytest.fixture
def prompts() -> Tensor:
    """Six that differ more than the golden ones do among themselves."""
    return torch.from_numpy(fakes.golden_pixel()[1]) * torch.tensor([[1.0], [1.0], [-1.0], [0.3], [-0.5], [2.0]])


def frames(pixel: Pixel, count: int) -> Any:
    given = prepare(fakes.video(count), pixel.config).frames
    return pixel.features(pixel.square(torch.from_numpy(given)))


def tracked(tracker: Tracker, features: Any) -> tuple[Tensor, Tensor]:
    """Mask logits [K, S, h, w] and objectness [K, S]."""
    rows = [tracker.step(features[k : k + 1], k) for k in range(len(features))]
    return torch.stack([row.masks for row in rows]), torch.stack([row.objectness for row in rows])


class Hoarder(Tracker):
    """Never forgets a frame."""

    def forget(self, index: int) -> None:
        pass


def test_forgetting_changes_nothing_over_24_frames(pixel, prompts):
    features = frames(pixel, 24)
    pruned, hoarder = Tracker(pixel, prompts, 24), Hoarder(pixel, prompts, 24)
    for one, other in zip(tracked(pruned, features), tracked(hoarder, features), strict=True):
        assert torch.equal(one, other)
    assert len(hoarder.memory["non_cond_frame_outputs"]) == 22 > len(pruned.memory["non_cond_frame_outputs"])


def test_objects_in_one_batch_are_objects_one_by_one(pixel, prompts):
    features = frames(pixel, 10)
    masks, objectness = tracked(Tracker(pixel, prompts, 10), features)
    for s in range(len(prompts)):
        alone, own = tracked(Tracker(pixel, prompts[s : s + 1], 10), features)
        torch.testing.assert_close(alone[:, 0], masks[:, s], atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(own[:, 0], objectness[:, s], atol=1e-4, rtol=1e-4)


def test_permuting_prompts_permutes_masks(pixel, prompts):
    features, order = frames(pixel, 8), torch.tensor([3, 0, 5, 1, 4, 2])
    masks, objectness = tracked(Tracker(pixel, prompts, 8), features)
    permuted, scores = tracked(Tracker(pixel, prompts[order], 8), features)
    torch.testing.assert_close(permuted, masks[:, order], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(scores, objectness[:, order], atol=1e-4, rtol=1e-4)
    assert (masks[0, 1] - masks[0, 2]).abs().max() > 0.1, "prompts that differ must ask for different masks"
    pairs = torch.zeros(6, dtype=torch.long)
    alone, swapped = pixel.masks(features[:1], prompts, pairs), pixel.masks(features[:1], prompts[order], pairs)
    torch.testing.assert_close(swapped.masks, alone.masks[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["frames", "video", "anchor"])
def test_the_size_of_chunks_changes_no_mask(pixel, prompts, mode):
    step, video = PixelStep(pixel), fakes.video(9)
    tasks = []
    for chunk in (1, 4, 9):
        chunks = [prepare(video[k : k + chunk], pixel.config, start=k) for k in range(0, 9, chunk)]
        tasks.append(PixelTask(chunks, prompts.numpy(), 9, mode))
    one, four, nine = step(tasks)
    assert one == four == nine
    trunk = copy.copy(pixel)
    trunk.config = replace(pixel.config, chunk=2)  # another batch in the trunk: equal but for rounding
    [other] = PixelStep(trunk)(tasks[:1])
    for track, again in zip(one, other, strict=True):
        assert track.scores == pytest.approx(again.scores, abs=1e-4)


def test_a_reply_without_phrases_has_no_tracks():
    model = fakes.talker()
    walk = Walk.of(model, fakes.tokenizer())
    answer = walk.ask(fakes.video(4), "what?", fps=4.0, max_new_tokens=3)
    assert (answer.phrases, answer.tracks, answer.finish) == ((), (), "length")
    assert answer.timings["pixel"] < 0.01


@pytest.mark.parametrize("kind", list(fakes.FAMILIES))
def test_every_family_walks(kind):
    model = fakes.model(fakes.config(fakes.language_config(kind, sliding_window=None if kind == "llama" else 16)))
    answer = Walk.of(model, fakes.tokenizer()).ask(fakes.video(5), "what?", fps=5.0, max_new_tokens=8)
    assert answer.finish in ("length", "stop")
    assert len(answer.tracks) == len(answer.phrases) == answer.raw.count("[SEG]")
