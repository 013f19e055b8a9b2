"""The benchmarks at toy sizes: what they compare gives the same answers, and a missed goal is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import batching, generation, memory, objects, realtime, run
from benchmarks.measure import Spread, interleaved, ratios
from benchmarks.report import Row, Section, machine, page
from tests import fakes
from vglamm.clock import STAGES
from vglamm.data.sample import Sample, Turn
from vglamm.media.read import open_video
from vglamm.walk import Walk


def test_the_published_way_and_ours_write_the_same_ids():
    model, asked = generation.build(fakes.config())
    head = model.language.lm.get_output_embeddings().weight
    head.normal_(0, 1)  # sharper than at birth, so that the ids differ from each other
    slow = generation.slow(model, asked, 8)
    for guesses in (0, 3):
        ids, spent = generation.fast(model, asked, 8, guesses)
        assert ids == slow
    assert len(set(ids)) > 2, "an answer of one token over and over compares nothing"
    assert min(spent.values()) > 0


def test_the_rate_of_guesses_is_that_of_steps_on_real_answers():
    assert 1.2 < generation.guessed_rate(20) < 1.6


def test_the_published_way_sees_frames_prompt_and_answer():
    model, asked = generation.build(fakes.config())
    model.language.lm.get_output_embeddings().weight.normal_(0, 1)
    passes = []
    model.language.register_forward_hook(lambda _, given, out: passes.append((out.shape[1], len(given[2][0]))))
    looks = []
    model.vision.register_forward_hook(lambda *_: looks.append(1))
    first = generation.slow(model, asked, 3)
    prompt = len(asked.ids) + 32
    assert passes == [(prompt, 32), (prompt, 32), (prompt + 1, 32), (prompt + 2, 32)]
    assert len(looks) == 4
    other = generation.Question(255 - asked.spatial, asked.temporal, asked.ids)
    assert generation.slow(model, other, 3) != first


def test_answers_together_are_answers_alone(monkeypatch):
    monkeypatch.setattr(batching, "preset", lambda _: fakes.config())
    section = batching.run(rounds=1, name="toy", requests=3, tokens=6)  # it ends the process if the ids differ
    assert [row.at_least for row in section.rows] == [2.5, None]
    assert min(row.found.low for row in section.rows) > 0


def test_objects_together_are_objects_in_turn():
    pixel, scene = objects.build(fakes.config(), frames=3, objects=2)
    together, turns = objects.together(pixel, scene, 2), objects.in_turn(pixel, scene, 2)
    assert [len(row) for row in together] == [len(row) for row in turns] == [2, 2, 2]
    for row, other in zip(together, turns, strict=True):
        for sight, same in zip(row, other, strict=True):
            assert sight.rle is not None, "an absent object would cost nothing to encode"
            assert sight.score == pytest.approx(same.score, abs=1e-5)
            assert sight.box == pytest.approx(same.box, abs=1)
    assert [row[0].score for row in objects.together(pixel, scene, 1)] == pytest.approx(
        [row[0].score for row in together], abs=1e-5
    )


def test_a_clip_of_plain_frames_is_answered_on_every_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "preset", lambda _: fakes.config())
    monkeypatch.setattr(memory, "build_tokenizer", fakes.tokenizer)
    memory.write_clip(tmp_path / "clip.mp4", 7)
    assert len(open_video(tmp_path / "clip.mp4")) == 7
    told = memory.answer(tmp_path / "clip.mp4", "toy")
    assert told["frames"] == 7
    assert 50 < told["peak"] < 50_000


def test_the_peak_stays_when_memory_is_given_back():
    held = np.ones(96 * 2**20, np.uint8)
    peak = memory.peak_mb()
    del held
    assert memory.peak_mb() > peak - 2, "Linux counts pages in batches: a peak may be told some pages lower later"


def test_a_process_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(memory.sys, "executable", "false")
    with pytest.raises(SystemExit, match="failed"):
        memory.peak(tmp_path / "clip.mp4", "toy", 3)


def test_the_real_time_factor_counts_every_stage(monkeypatch):
    frames = fakes.video(4)
    sample = Sample("clip", frames, 4.0, (Turn("What?", "That.", ()),), np.zeros((0, 4, 48, 64), bool))
    monkeypatch.setattr(realtime, "clips", lambda: {"clip": sample})
    section = realtime.run(rounds=2, walk=Walk.of(fakes.model(), fakes.tokenizer()))
    [row] = section.rows
    assert row.found.low > 0
    shares = {name.removeprefix("share of "): float(value.removesuffix(" %")) for name, value in section.details}
    assert tuple(shares) == STAGES
    assert sum(shares.values()) == pytest.approx(100, abs=3)


def test_arms_take_turns_and_ratios_are_of_neighbours():
    order: list[str] = []
    seconds = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 3
    assert [len(series) for series in seconds.values()] == [3, 3]
    assert ratios([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([0.5]).text(" s") == "0.5 s"
    assert Spread(123.4, 12.34, 1234.5).text(" ms") == "123 (12.3 to 1234) ms"


@pytest.mark.parametrize(
    ("row", "reached", "goal"),
    [
        (Row("a", Spread(40, 39, 41), "x", at_least=40), True, "at least 40x"),
        (Row("a", Spread(39.9, 39, 41), "x", at_least=40), False, "at least 40x"),
        (Row("a", Spread(1.1, 1, 2), "x", at_most=1.1), True, "at most 1.1x"),
        (Row("a", Spread(1.2, 1, 2), "x", at_most=1.1), False, "at most 1.1x"),
        (Row("a", Spread(99, 1, 999), "x"), True, "none: reported"),
    ],
)
def test_the_median_holds_the_goal(row, reached, goal):
    assert (row.reached, row.goal) == (reached, goal)
    assert row.verdict == ("" if goal.startswith("none") else "reached" if reached else "**missed**")


def test_a_full_run_writes_the_page_and_a_missed_goal_its_status(tmp_path, monkeypatch, capsys):
    asked: list[int] = []

    def bench(found: float):
        def one(*, rounds: int) -> Section:
            asked.append(rounds)
            return Section("Title", "How.", (Row("ratio", Spread(found, found, found), "x", at_most=2.0),), (("detail", "7 s"),))

        return one

    monkeypatch.setattr(run, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(run, "ALL", {"good": (bench(1.0), 5, 2), "bad": (bench(3.0), 5, 2)})
    threads = torch.get_num_threads()
    assert run.main(["--quick"]) == 1
    assert run.main(["--only", "good"]) == 0
    assert not run.PAGE.exists()
    assert run.main(["--no-goals"]) == 0
    assert asked == [2, 2, 5, 5, 5]
    text = run.PAGE.read_text()
    assert "| ratio | 3x | at most 2x | **missed** |" in text
    assert "| detail | 7 s |" in text
    assert "goals missed: ratio" in capsys.readouterr().out
    torch.set_num_threads(threads)


def test_the_page_names_machine_versions_and_threads():
    facts = dict(machine("0.1 0.2 0.3"))
    assert facts["threads of torch"] == str(torch.get_num_threads())
    assert facts["load average before, after"].startswith("0.1 0.2 0.3, ")
    assert f"torch {torch.__version__.split('+')[0]}" in facts["packages"]
    assert all(f"| {name} | {value} |" in page([], list(facts.items())) for name, value in facts.items())
