"""Writing with the cache against the slow obvious way: the whole prefix again for every token, alone and in any company."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests import fakes
from tests.writing import written
from vglamm.errors import CheckpointError, ConfigError, DialogueError
from vglamm.language import aligned, cache
from vglamm.language.generate import RunningBatch, _choose
from vglamm.language.lm import Language

FAMILIES = [(kind, window) for kind in fakes.FAMILIES for window in ((None,) if kind == "llama" else (None, 9))]
EXACT = {"atol": 2e-5, "rtol": 2e-5}


def language(kind: str, window: int | None) -> Language:
    torch.manual_seed(3)
    made = Language(fakes.language_config(kind, sliding_window=window)).eval().requires_grad_(False)
    made.lm.get_output_embeddings().weight.normal_(0, 1)  # sharper than at birth, so that greedy choices are not ties
    return made


def rows(part: Language, *lengths: int) -> list[Tensor]:
    noise = torch.Generator().manual_seed(5)
    return [torch.randn(length, part.config.width, generator=noise) for length in lengths]


def naive(part: Language, row: Tensor, steps: int) -> tuple[list[int], Tensor]:
    """Greedy ids and the hidden states that predicted them, with no cache and no padding."""
    whole, ids, hidden = row[None], [], []
    for _ in range(steps):
        states, held = part.prefill(whole, torch.ones(whole.shape[:2]), cached=False)
        assert held is None
        hidden.append(states[0, -1])
        ids.append(int(part.logits(states[0, -1]).argmax()))
        if ids[-1] in part.config.stop_tokens:
            break
        whole = torch.cat([whole, part.embed(torch.tensor([ids[-1:]]))], dim=1)
    return ids, torch.stack(hidden)


def cached(part: Language, given: list[Tensor], steps: int, **settings) -> list[list[int]]:
    return [[token.id for token in tokens] for tokens in written(part, given, steps, **settings)]


@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_cached_is_naive_also_beyond_a_window_and_in_company(kind, window):
    part = language(kind, window)
    given = rows(part, 14, 5, 21)  # around the window of 9
    for row, tokens in zip(given, written(part, given, 20), strict=True):
        want, states = naive(part, row, 20)
        assert [token.id for token in tokens] == want
        torch.testing.assert_close(torch.stack([token.hidden for token in tokens]), states, **EXACT)


def hints(answer: list[int], wrong: int) -> list[int]:
    """The answer as a lookup may have read it, every so many tokens another one."""
    return [token + 1 if at % wrong == wrong - 1 else token for at, token in enumerate(answer)]


@pytest.mark.parametrize("block", [2, 256])
@pytest.mark.parametrize("wrong", [2, 3, 5, 1000])
@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_guesses_right_and_wrong_change_no_token(kind, window, wrong, block, monkeypatch):
    monkeypatch.setattr(aligned, "BLOCK", block)
    part = language(kind, window)
    object.__setattr__(part.config, "stop_tokens", ())
    [row] = rows(part, 14)
    want, states = naive(part, row, 30)
    batch = RunningBatch(part)
    key, first = batch.join(row, ids=hints(want, wrong))
    tokens, steps = [first], 0
    while len(tokens) < 30:
        tokens += batch.step()[key]
        steps += 1
    assert [token.id for token in tokens][:30] == want
    torch.testing.assert_close(torch.stack([token.hidden for token in tokens[:30]]), states, **EXACT)
    assert steps <= {2: 29, 3: 25, 5: 20, 1000: 12}[wrong], "guesses were right"
    [layer, *_] = batch._sequences.cache.layers
    assert layer.get_seq_length() == 14 + len(tokens) - 1, "wrong guesses are forgotten"


@pytest.mark.parametrize("guesses", [1, 3, 7])
def test_what_is_drawn_does_not_depend_on_guesses(guesses):
    part = language("phi3", 9)
    object.__setattr__(part.config, "stop_tokens", ())
    [row] = rows(part, 14)
    settings = {"temperature": 0.7, "seed": 8}
    [plain] = written(part, [row], 40, **settings)
    ids = [token.id for token in plain]
    passes: list[int] = []
    part.trunk.register_forward_hook(lambda *_: passes.append(1))
    [guessed] = written(part, [row], 40, guesses=guesses, ids=hints(ids, 4), **settings)
    assert [token.id for token in guessed] == ids
    assert len(passes) < 35, "guesses were right"


def test_an_answer_that_gets_company_is_not_guessed_for_and_is_again_when_alone():
    part = language("phi3", 9)
    object.__setattr__(part.config, "stop_tokens", ())
    one, other = rows(part, 14, 5)
    want, _ = naive(part, one, 40)
    batch = RunningBatch(part)
    key, first = batch.join(one, ids=want)
    taken = [batch.step()[key] for _ in range(3)]
    guest, _ = batch.join(other)
    taken += [batch.step()[key] for _ in range(5)]
    batch.leave(guest)
    taken += [batch.step()[key] for _ in range(3)]
    assert [len(tokens) for tokens in taken] == [4, 4, 4, 1, 1, 1, 1, 1, 4, 4, 4]
    assert [first.id, *(token.id for tokens in taken for token in tokens)] == want[:30]


@pytest.mark.parametrize(
    ("rope", "steady"),
    [
        ({"rope_type": "default", "rope_theta": 1e4}, True),
        ({"rope_type": "longrope", "rope_theta": 1e4}, False),
        ({"rope_type": "dynamic", "rope_theta": 1e4}, False),
        ({"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "dynamic"}}, False),
        ({"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "linear"}}, True),
        (None, False),
    ],
)
def test_where_later_positions_change_earlier_ones_nothing_is_guessed(rope, steady):
    part = language("phi3", None)
    part.lm.config.rope_parameters = rope
    assert part.steady is steady
    assert RunningBatch(part).guesses == (3 if steady else 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda part: setattr(part, "config", replace(part.config, quantise="8bit")),
        lambda part: part.half(),
        lambda part: setattr(part.lm.config, "num_local_experts", 8),
    ],
    ids=["quantised", "float16", "experts"],
)
def test_where_rows_are_not_alone_or_not_for_nothing_nothing_is_guessed(change):
    part = language("phi3", None)
    assert RunningBatch(part).guesses == 3
    change(part)
    assert RunningBatch(part).guesses == 0


class Crowd:
    """A running batch driven by a script. ids: what each answer has so far, by name."""

    def __init__(self, part: Language, given: dict[str, Tensor], guesses: int, **settings) -> None:
        self.batch, self.given, self.settings = RunningBatch(part, guesses=guesses), given, settings
        self.keys: dict[str, int] = {}
        self.ids: dict[str, list[int]] = {}
        self.hidden: dict[str, list[Tensor]] = {}

    def join(self, name: str) -> None:
        self.keys[name], token = self.batch.join(self.given[name], **self.settings)
        self.ids[name], self.hidden[name] = [token.id], [token.hidden]

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            tokens = self.batch.step()
            assert set(tokens) == set(self.keys.values())
            for name, key in self.keys.items():
                self.ids[name] += [token.id for token in tokens[key]]
                self.hidden[name] += [token.hidden for token in tokens[key]]

    def leave(self, name: str) -> None:
        self.batch.leave(self.keys.pop(name))


@pytest.mark.parametrize("block", [2, 256])
@pytest.mark.parametrize("guesses", [0, 3])
@pytest.mark.parametrize(("kind", "window"), FAMILIES)
@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "seed": 4}], ids=["greedy", "drawn"])
def test_who_joins_and_leaves_changes_nobody_elses_tokens(kind, window, settings, guesses, block, monkeypatch):
    """Short after long, long after short, from the middle and from the end, all gone and begun again: tokens as alone."""
    monkeypatch.setattr(aligned, "BLOCK", block)
    part = language(kind, window)
    object.__setattr__(part.config, "stop_tokens", ())
    given = dict(zip("abcdef", rows(part, 6, 23, 3, 31, 12, 8), strict=True))
    crowd = Crowd(part, given, guesses, **settings)
    crowd.join("a")
    crowd.step(3)
    crowd.join("b")  # longer than all that is there
    crowd.join("c")
    crowd.step(4)
    crowd.leave("b")  # the longest, from the middle
    crowd.step(2)
    crowd.join("d")
    crowd.step(5)
    crowd.leave("d")  # the last row
    crowd.leave("a")
    crowd.step(6)
    crowd.leave("c")
    assert (len(crowd.batch), crowd.batch.step()) == (0, {})
    for name in "ef":
        crowd.join(name)
    crowd.step(9)
    for name, row in given.items():
        [alone] = written(part, [row], len(crowd.ids[name]), **settings)
        assert crowd.ids[name] == [token.id for token in alone], name
        torch.testing.assert_close(torch.stack(crowd.hidden[name]), torch.stack([token.hidden for token in alone]), **EXACT)


def test_what_left_is_forgotten():
    """Rooms follow the longest answer that is still there, and an empty batch holds nothing."""
    part = language("phi3", 9)
    batch = RunningBatch(part)
    keys = [batch.join(row)[0] for row in rows(part, 200, 4)]
    layer = batch._sequences.cache.layers[0]
    assert layer.get_mask_sizes(1) == (10, 191)  # phi3 as published sees itself and the 9 before it
    batch.leave(keys[0])
    assert layer.get_mask_sizes(1) == (5, 0)
    batch.leave(keys[1])
    assert all(column.room is None for layer in batch._sequences.cache.layers for column in layer.columns)


def test_a_token_is_written_behind_the_others_which_stay_where_they_are():
    part = language("phi3", None)
    batch = RunningBatch(part)
    for row in rows(part, 5, 9):
        batch.join(row)
    column = batch._sequences.cache.layers[0].columns[0]
    batch.step()
    place = column.room.data_ptr()
    for _ in range(20):
        batch.step()
    assert column.room.data_ptr() == place
    assert column.room.shape[2] <= 9 + cache.BLOCK


@pytest.mark.parametrize("kind", ["phi3", "qwen2", "qwen3"])
def test_a_window_hides_what_lies_before_it(kind):
    narrow, wide = language(kind, 4), language(kind, None)
    [row] = rows(narrow, 24)
    other = row.clone()
    other[0] += 1
    reach = 2 * (4 if kind == "phi3" else 3)  # two layers; phi3 as published sees itself and the 4 before it, others itself and 3
    [states, changed] = (narrow.prefill(x[None], torch.ones(1, 24))[0][0] for x in (row, other))
    assert states[reach + 1 :].equal(changed[reach + 1 :])
    assert not states[reach].equal(changed[reach])
    assert not wide.prefill(row[None], torch.ones(1, 24))[0][0, -1].equal(wide.prefill(other[None], torch.ones(1, 24))[0][0, -1])


def test_drawing_is_reproducible_by_seed_and_differs_between_seeds():
    part = language("phi3", None)
    given = rows(part, 6, 9)
    first = cached(part, given, 12, temperature=1.5, seed=1)
    assert cached(part, given, 12, temperature=1.5, seed=1) == first
    torch.manual_seed(99)
    assert cached(part, given, 12, temperature=1.5, seed=1) == first, "the global generator plays no part"
    assert cached(part, given, 12, temperature=1.5, seed=2) != first
    assert [cached(part, [row], 12, temperature=1.5, seed=1)[0] for row in given] == first, "nor do the other rows"
    assert cached(part, given, 12, temperature=1e-4, seed=2) == cached(part, given, 12)


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-40, 1e-7, 1e-6])
def test_a_tiny_temperature_is_greedy(temperature):
    part = language("phi3", None)
    given = rows(part, 6, 9)
    assert cached(part, given, 12, temperature=temperature, seed=2) == cached(part, given, 12)


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e300])
def test_logits_of_any_size_are_drawn_from(temperature):
    logits_BV = torch.tensor([[3e38, -3e38, -torch.inf, 2e38]])
    drawn = {int(_choose(logits_BV, [temperature], [torch.Generator().manual_seed(seed)])[0]) for seed in range(50)}
    assert drawn == ({0, 1, 3} if temperature == 1e300 else {0})


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_an_error_and_the_answer_does_not_join(value, temperature):
    part = language("phi3", None)
    batch = RunningBatch(part)
    good, bad = rows(part, 4, 6)
    key, _ = batch.join(good)
    part.lm.get_output_embeddings().register_forward_hook(lambda _, __, out: out + value * (len(batch) == 1))
    with pytest.raises(CheckpointError, match=r"logits of (nan|inf)"):
        batch.join(bad, temperature=temperature)
    part.lm.get_output_embeddings()._forward_hooks.clear()
    assert list(batch.step()) == [key]


def test_logits_that_are_no_numbers_harm_no_other_answer():
    part = language("phi3", None)
    batch = RunningBatch(part)
    good, bad = (batch.join(row, temperature=1.0)[0] for row in rows(part, 4, 6))
    alone = RunningBatch(part)
    same, _ = alone.join(rows(part, 4, 6)[0], temperature=1.0)
    part.lm.get_output_embeddings().register_forward_hook(
        lambda _, __, out: torch.cat([out[:1], out[1:] * torch.nan]) if len(out) == 2 else out
    )
    steps = [(batch.step(), alone.step()) for _ in range(4)]
    together = [token.id for one, _ in steps for token in one[good]]
    assert together == [token.id for _, one in steps for token in one[same]][: len(together)]
    for one, _ in steps:
        [fine], [damaged] = one[good], one[bad]
        fine.check()
        with pytest.raises(CheckpointError, match="logits of nan"):
            damaged.check()


def test_greedy_and_drawn_answers_share_a_batch():
    part = language("phi3", None)
    one, other = rows(part, 6, 9)
    batch = RunningBatch(part)
    greedy, drawn = batch.join(one)[0], batch.join(other, temperature=1.5, seed=3)[0]
    steps = [batch.step() for _ in range(8)]
    object.__setattr__(part.config, "stop_tokens", ())
    assert [step[greedy][0].id for step in steps] == cached(part, [one], 9)[0][1:]
    assert [step[drawn][0].id for step in steps] == cached(part, [other], 9, temperature=1.5, seed=3)[0][1:]


def test_a_negative_temperature_is_refused():
    part = language("phi3", None)
    with pytest.raises(DialogueError, match="temperature -1"):
        RunningBatch(part).join(rows(part, 3)[0], temperature=-1)


def test_layers_that_cannot_be_aligned_are_refused():
    with pytest.raises(ConfigError, match="layers of object"):
        aligned._window(object())
