import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import fakes
from tests.unit.pixel.conftest import clip
from vglamm.errors import ConfigError, DialogueError, MaskError
from vglamm.language.dialogue import SEG
from vglamm.language.lookup import Lookup
from vglamm.records import Reply, VisionInput, VisualTokens
from vglamm.steps.language import Asked, LanguageStep
from vglamm.steps.pixel import PixelStep, PixelTask
from vglamm.steps.vision import VisionStep
from vglamm.steps.wire import from_wire, to_wire
from vglamm.vision.prepare import prepare


def given(seed: int = 0, *, image: bool = False) -> VisionInput:
    return prepare(fakes.video(1 if image else 4, seed=seed), fakes.config().vision, image=image)


@pytest.fixture(scope="module")
def vision() -> VisionStep:
    return VisionStep(copy.deepcopy(fakes.talker().vision))


@pytest.fixture(scope="module")
def language() -> LanguageStep:
    return LanguageStep(copy.deepcopy(fakes.talker().language), fakes.tokenizer())


@pytest.fixture(scope="module")
def tokens(vision) -> list[VisualTokens]:
    return vision([given(0), given(1, image=True), given(2)])


def test_vision_keeps_the_order_and_shares_passes(vision, tokens):
    assert [(t.tokens.shape, t.tokens.dtype, t.frames) for t in tokens] == [
        ((32, 64), np.float32, 4),
        ((16, 64), np.float32, 0),
        ((32, 64), np.float32, 4),
    ]
    passes: list[int] = []
    handle = vision.part.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    vision([given(0), given(1, image=True), given(2)])
    handle.remove()
    assert passes == [2, 1]
    for i, item in enumerate([given(0), given(1, image=True), given(2)]):
        np.testing.assert_allclose(vision([item])[0].tokens, tokens[i].tokens, atol=1e-5)
    assert vision([]) == []


def test_bfloat16_crosses_as_its_bits():
    step = VisionStep(copy.deepcopy(fakes.talker().vision), dtype="bfloat16")
    [made] = step([given()])
    assert made.tokens.dtype == np.uint16
    assert step.part.spatial_mean.dtype == torch.float32
    with torch.inference_mode():
        exact = step.part(torch.from_numpy(given().spatial)[None], torch.from_numpy(given().temporal)[None])[0]
    assert exact.dtype == torch.bfloat16
    assert torch.equal(from_wire(made.tokens), exact)
    assert torch.equal(from_wire(to_wire(torch.ones(2, dtype=torch.float16))), torch.ones(2, dtype=torch.float16))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reduced_precision_answers_alike(dtype, tokens):
    model = copy.deepcopy(fakes.talker())
    [seen] = VisionStep(model.vision, dtype=dtype)([given()])
    [reply] = LanguageStep(model.language, fakes.tokenizer(), dtype=dtype)([(seen, (), "what?")])
    assert reply.raw == fakes.ANSWER
    part, prompts = fakes.golden_pixel()
    task = PixelTask(clip(part), prompts[1:3], 8)
    full, reduced = PixelStep(part)([task])[0], PixelStep(copy.deepcopy(part), dtype=dtype)([task])[0]
    for one, other in zip(full, reduced, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=0.03)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ConfigError, match="int8"):
        VisionStep(fakes.model().vision, dtype="int8")


def test_language_replies_in_order_with_a_prompt_for_each_seg(language, tokens):
    asked = [Asked(tokens[0], (), "what?"), (tokens[1], (), "and here?"), (tokens[2], (("who?", fakes.ANSWER),), "again?")]
    replies = language(asked)
    assert [reply.raw for reply in replies] == [fakes.ANSWER] * 3
    for reply in replies:
        assert reply.text == "a cat sees a dog frames:(1,3)."
        assert [phrase.text for phrase in reply.phrases] == ["a cat", "a dog"]
        assert reply.prompts.shape == (2, 64)
        assert reply.prompts.dtype == np.float32
        assert (reply.finish, reply.warnings) == ("stop", ())
        assert reply.tokens[-1] == language.part.config.stop_tokens[0]
    assert language([]) == []


def test_a_prompt_is_the_projected_state_that_predicts_seg(language, tokens):
    """Against the teacher-forced pass over the whole dialogue; only the new answer's [SEG]s make prompts."""
    history = (("who?", fakes.ANSWER),)
    [reply] = language([(tokens[0], history, "again?")])
    dialogue = language.scribe.teach([*history, ("again?", reply.raw)], visual=32, frames=4)
    with torch.inference_mode():
        ids = torch.from_numpy(dialogue.ids)[None]
        hidden = language.part(ids, torch.ones_like(ids), [torch.from_numpy(tokens[0].tokens)], [dialogue.start])
        wanted = language.part.prompts_at(hidden[0, list(dialogue.segs)])
    assert len(wanted) == 4
    np.testing.assert_allclose(reply.prompts, wanted[2:].numpy(), atol=1e-4)


def test_a_limit_cuts_and_says_so(language, tokens):
    [reply] = language([(tokens[0], (), "what?")], max_new_tokens=6)
    assert len(reply.tokens) == 6
    assert (reply.finish, len(reply.prompts)) == ("length", 1)
    with pytest.raises(DialogueError, match="max_new_tokens 0"):
        language([(tokens[0], (), "what?")], max_new_tokens=0)


def test_words_of_the_dialogue_and_the_form_of_a_phrase_are_guessed(language, tokens, monkeypatch):
    passes = []
    handle = language.part.trunk.register_forward_hook(lambda *_: passes.append(1))
    asked = (tokens[0], (("who?", fakes.ANSWER),), "again?")
    [reply] = language([asked])
    handle.remove()
    assert 2 < len(passes) < len(reply.tokens) / 2
    with monkeypatch.context() as patched:
        patched.setattr(Lookup, "guess", lambda *_: [])
        [plain] = language([asked])
    assert (reply.raw, reply.tokens) == (plain.raw, plain.tokens)
    np.testing.assert_allclose(reply.prompts, plain.prompts, atol=1e-5)
    prompt = language.prepare(asked)
    told = language.scribe.decode(prompt.ids)
    assert told.startswith(f"<p> x </p> {SEG}")
    assert told.endswith(f"who?\n\n{fakes.ANSWER}\n\nagain?\n\n")
    assert prompt.ids.count(0) == 0, "visual tokens are no text"
    for limit in range(1, len(reply.tokens)):
        [cut] = language([asked], max_new_tokens=limit)
        assert (cut.tokens, cut.finish) == (reply.tokens[:limit], "length")
        assert len(cut.prompts) == cut.tokens.count(language.part.config.seg_token)


def test_an_answer_ends_where_the_context_does(language, tokens):
    part = language.part
    kept = part.config
    short = language.scribe.ask((), "what?", visual=32, frames=4)
    try:
        part.config = replace(kept, lm={**kept.lm, "max_position_embeddings": len(short.ids) + 3})
        step = LanguageStep(part, fakes.tokenizer())
        [reply] = step([(tokens[0], (), "what?")])
        assert (len(reply.tokens), reply.finish) == (3, "length")
        with pytest.raises(DialogueError, match=r"got \d+ text tokens and 32 visual tokens; expected at most"):
            step([(tokens[0], (), "what is this?")])
    finally:
        part.config = kept


@pytest.mark.parametrize("question", ["", "  \n", "<image>", "a <|end|> b"])
def test_questions_that_cannot_be_used(language, tokens, question):
    with pytest.raises(DialogueError):
        language([(tokens[0], (), question)])
    with pytest.raises(DialogueError):
        list(language.stream((tokens[0], (), question)))


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"temperature": -0.5}, "temperature -0.5"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"temperature": 1.0, "seed": 2**64}, "seed 18446744073709551616"),
        ({"max_new_tokens": 0}, "max_new_tokens 0"),
    ],
)
def test_ways_of_writing_that_cannot_be(language, tokens, how, word):
    with pytest.raises(DialogueError, match=word):
        language([(tokens[0], (), "what?")], **how)


def test_a_stream_is_text_then_prompts_then_the_reply(language, tokens):
    events = list(language.stream((tokens[0], (), "what?")))
    [reply] = language([(tokens[0], (), "what?")])
    assert isinstance(events[-1], Reply)
    assert (events[-1].raw, events[-1].tokens) == (reply.raw, reply.tokens)
    assert "".join(event for event in events if isinstance(event, str)) == reply.raw
    prompts = [i for i, event in enumerate(events) if isinstance(event, np.ndarray)]
    np.testing.assert_array_equal(np.stack([events[i] for i in prompts]), events[-1].prompts)
    assert all(events[i - 1].endswith(SEG) for i in prompts)
    assert not torch.is_inference_mode_enabled()
    stream = language.stream((tokens[0], (), "what?"))
    next(stream)
    assert not torch.is_inference_mode_enabled(), "the consumer must not run in inference mode"


def test_half_a_character_waits_for_its_other_bytes(language, tokens, monkeypatch):
    stop = language.part.config.stop_tokens[0]
    ids = [*fakes.tokenizer()("é")["input_ids"], *fakes.tokenizer()("a")["input_ids"]]
    assert len(ids) == 3
    script(monkeypatch, [*ids, stop])
    events = list(language.stream((tokens[0], (), "what?")))
    assert events[:-1] == ["é", "a"]


def test_a_seg_that_is_spelled_out_asks_for_no_mask(language, tokens, monkeypatch):
    tokenizer = fakes.tokenizer()
    spelled = tokenizer.convert_tokens_to_ids(list("[SEG]"))
    script(monkeypatch, [*spelled, language.part.config.seg_token, language.part.config.stop_tokens[0]])
    [reply] = language([(tokens[0], (), "what?")])
    assert len(reply.prompts) == len(reply.phrases) == 1
    assert any("spelled out" in warning for warning in reply.warnings)
    assert reply.raw == "[ SEG ][SEG]"


def script(monkeypatch, ids: list[int]) -> None:
    """Make the language part write these ids, with their true hidden states."""
    left = iter(ids)
    monkeypatch.setattr("vglamm.language.generate._choose", lambda logits, *_: torch.tensor([next(left)] * len(logits)))


def test_drawing_is_reproducible_by_seed_in_any_batch(language, tokens):
    def drawn(items, seed):
        return [reply.tokens for reply in language(items, temperature=3.0, seed=seed)]

    items = [(tokens[0], (), "what?"), (tokens[1], (), "and here?")]
    first = drawn(items, 7)
    assert drawn(items, 7) == first
    assert drawn(items[1:], 7) == first[1:]
    assert drawn(items, 8) != first


@pytest.mark.parametrize("mode", ["video", "frames", "anchor"])
def test_pixel_makes_a_track_for_each_prompt(mode):
    part, prompts = fakes.golden_pixel()
    step = PixelStep(part)
    tasks = [
        PixelTask(clip(part, 8), prompts[:2], 8, mode),
        PixelTask(clip(part, 3), prompts[:0], 3, mode),
        PixelTask(clip(part, 2), prompts, 2, mode),
    ]
    found = step(tasks)
    assert [len(tracks) for tracks in found] == [2, 0, 6]
    assert {len(track.rle) for track in found[0]} == {8}
    rows = list(step.stream(tasks[0]))
    assert [k for k, _ in rows] == list(range(8))
    assert [row[1].rle for _, row in rows] == list(found[0][1].rle)
    assert not torch.is_inference_mode_enabled()


def test_without_prompts_nothing_is_read_or_run():
    part, prompts = fakes.golden_pixel()

    def forbidden(first, stop):
        raise AssertionError("read although there is nothing to ground")

    handle = part.sam.image_encoder.trunk.register_forward_pre_hook(forbidden)
    try:
        assert PixelStep(part)([PixelTask(forbidden, prompts[:0], 5)]) == [()]
    finally:
        handle.remove()


def test_wrong_tasks_are_refused_before_anything_runs():
    part, prompts = fakes.golden_pixel()
    step = PixelStep(part)
    with pytest.raises(ConfigError, match="mode 'best'"):
        step.stream(PixelTask([], prompts, 4, "best"))
    with pytest.raises(MaskError, match=r"\[S, 64\]"):
        step.stream(PixelTask([], prompts[:, :32], 4))


def test_a_step_takes_its_part_to_eval_mode_and_leaves_it_trainable():
    part = fakes.model().pixel.train()
    step = PixelStep(part)
    assert not step.part.training
    assert any(parameter.requires_grad for parameter in step.part.parameters())


def test_questions_join_a_flight_and_leave_it_while_others_are_answered(language, tokens):
    questions = ["what?", "and who is it that moves here?", "a", "where?"]
    alone = [language([(tokens[n % 3], (), question)])[0] for n, question in enumerate(questions)]
    prompts = [language.prepare((tokens[n % 3], (), question)) for n, question in enumerate(questions)]
    flight = language.flight()
    heard: dict[int, list] = {}
    keys = []

    def join(prompt):
        key, events = flight.join(prompt)
        keys.append(key)
        heard[key] = events

    def advance():
        for key, events in flight.advance().items():
            heard[key] += events

    join(prompts[0])
    advance()
    join(prompts[1])
    join(prompts[2])
    assert flight.tokens == sum(prompt.tokens for prompt in prompts[:3])
    advance()
    flight.leave(keys[1])
    flight.leave(keys[1])  # it may have left already
    with pytest.raises(DialogueError):
        flight.join(language.prepare((tokens[0], (), " ")))
    join(prompts[3])
    while len(flight):
        advance()
    for n in (0, 2, 3):
        reply = heard[keys[n]][-1]
        assert (reply.raw, reply.tokens, reply.finish) == (alone[n].raw, alone[n].tokens, "stop")
        np.testing.assert_allclose(reply.prompts, alone[n].prompts, atol=1e-4)
        assert "".join(event for event in heard[keys[n]] if isinstance(event, str)) == reply.raw
    assert not any(isinstance(event, Reply) for event in heard[keys[1]])
    assert (flight.tokens, flight.advance()) == (0, {})
    assert not torch.is_inference_mode_enabled()


def test_a_quiet_flight_gives_only_replies(language, tokens):
    flight = language.flight(quiet=True)
    _, events = flight.join(language.prepare((tokens[0], (), "what?")))
    while len(flight):
        [(_, more)] = flight.advance().items()
        events += more
    assert [type(event) for event in events] == [Reply]
