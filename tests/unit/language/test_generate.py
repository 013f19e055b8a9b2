"""Writing with the cache against the slow obvious way: the whole prefix again for every token."""

import pytest
import torch
from torch import Tensor

from tests import fakes
from vglamm.errors import DialogueError
from vglamm.language.generate import pad_left, write
from vglamm.language.lm import Language

FAMILIES = [(kind, window) for kind in fakes.FAMILIES for window in ((None,) if kind == "llama" else (None, 9))]


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
        states, cache = part.prefill(whole, torch.ones(whole.shape[:2]), cached=False)
        assert cache is None
        hidden.append(states[0, -1])
        ids.append(int(part.logits(states[0, -1]).argmax()))
        if ids[-1] in part.config.stop_tokens:
            break
        whole = torch.cat([whole, part.embed(torch.tensor([ids[-1:]]))], dim=1)
    return ids, torch.stack(hidden)


def cached(part: Language, given: list[Tensor], steps: int, **settings) -> tuple[list[list[int]], Tensor]:
    written = list(write(part, given, limit=steps, **settings))
    ids = torch.stack([step.ids for step in written], dim=1)
    return [[int(i) for i in row if i >= 0] for row in ids], torch.stack([step.hidden for step in written], dim=1)


@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_cached_is_naive_also_beyond_a_window_and_with_padding(kind, window):
    part = language(kind, window)
    given = rows(part, 14, 5, 21)  # around the window of 9, and two of them padded on the left
    ids, hidden = cached(part, given, 20)
    for b, row in enumerate(given):
        want, states = naive(part, row, 20)
        assert ids[b] == want
        torch.testing.assert_close(hidden[b, : len(states)], states, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("kind", "window"), FAMILIES)
def test_a_batch_of_one_is_the_same_item_in_a_batch_of_three(kind, window):
    part = language(kind, window)
    given = rows(part, 30, 7, 12)
    together, states = cached(part, given, 12)
    for b in range(3):
        alone, own = cached(part, given[b : b + 1], 12)
        assert alone[0] == together[b]
        torch.testing.assert_close(own[0], states[b, : own.shape[1]], atol=2e-5, rtol=2e-5)


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


def test_rows_end_at_their_own_stop():
    part = language("phi3", None)
    given = rows(part, 6, 9)
    ids, _ = cached(part, given, 10)
    stop = ids[0][3]
    first = ids[0].index(stop)
    object.__setattr__(part.config, "stop_tokens", (stop,))
    steps = list(write(part, given, limit=10))
    assert [int(step.ids[0]) for step in steps][: first + 2] == [*ids[0][: first + 1], *([-1] if len(steps) > first + 1 else [])]
    second = ids[1].index(stop) + 1 if stop in ids[1] else 10
    assert len(steps) == max(first + 1, second)


def test_drawing_is_reproducible_by_seed_and_differs_between_seeds():
    part = language("phi3", None)
    given = rows(part, 6, 9)
    first = cached(part, given, 12, temperature=1.5, seed=1)[0]
    assert cached(part, given, 12, temperature=1.5, seed=1)[0] == first
    torch.manual_seed(99)
    assert cached(part, given, 12, temperature=1.5, seed=1)[0] == first, "the global generator plays no part"
    assert cached(part, given, 12, temperature=1.5, seed=2)[0] != first
    assert [cached(part, [row], 12, temperature=1.5, seed=1)[0][0] for row in given] == first, "nor do the other rows"
    assert cached(part, given, 12, temperature=1e-4, seed=2)[0] == cached(part, given, 12)[0]


def test_a_negative_temperature_is_refused():
    part = language("phi3", None)
    with pytest.raises(DialogueError, match="temperature -1"):
        next(write(part, rows(part, 3), limit=2, temperature=-1))


def test_padding_is_on_the_left_and_masked():
    inputs, mask = pad_left([torch.ones(2, 3), torch.ones(4, 3)])
    assert inputs[0, :2].eq(0).all()
    assert inputs[0, 2:].eq(1).all()
    assert mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
