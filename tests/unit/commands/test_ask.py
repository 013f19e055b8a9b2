"""`vglamm ask` on a real clip with a model that was taught one answer: screen, files, turns and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests import fakes
from tests.unit.commands.conftest import Run
from vglamm.answer import Answer
from vglamm.commands.ask import numbered
from vglamm.media.mp4 import write_mp4
from vglamm.media.read import open_video
from vglamm.show.legend import names
from vglamm.walk import Walk

QUESTION = "Who is it?"


@pytest.fixture(scope="module")
def expected(clip: Path) -> Answer:
    """What the walk itself answers."""
    return Walk.of(fakes.talker(), fakes.tokenizer()).ask(clip, QUESTION)


def test_the_answer_its_phrases_and_its_tracks_are_shown(
    expected: Answer, taught: list, clip: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", clip, QUESTION) == 0
    shown = capsys.readouterr().out
    assert f"> {QUESTION}" in shown
    assert expected.text in shown
    rows = [line.split("  ")[1].strip() for line in shown.splitlines() if line.startswith("■")]
    assert rows == names(expected)
    assert rows != []
    assert "read 4 and masked 2 of 12 frames at 6 fps" in shown
    assert taught == [("tiny", {"device": "cpu", "dtype": None, "quantise": None})]


def test_json_holds_the_answer(expected: Answer, taught: list, clip: Path, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "new" / "answer.json"
    assert run("ask", clip, QUESTION, "--json", target) == 0
    answer = Answer.from_json(target.read_text())
    assert replace(answer, timings={}) == replace(expected, timings={})


@pytest.mark.parametrize("option", ["--json", "--overlay"])
def test_the_video_is_not_written_over(
    taught: list, clip: Path, run: Run, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(clip.read_bytes())
    assert run("ask", mine, QUESTION, option, mine) == 2
    assert f"{option}{mine},thevideoitself" in "".join(capsys.readouterr().err.split())
    second = tmp_path / "mine-2.mp4"
    mine.rename(second)
    assert run("ask", second, QUESTION, "And now?", "--overlay", mine) == 2
    assert second.read_bytes() == clip.read_bytes()
    assert taught == [], "before the model is loaded"


def test_json_to_stdout_keeps_everything_else_off_it(
    expected: Answer, taught: list, clip: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", clip, QUESTION, "--json", "-") == 0
    captured = capsys.readouterr()
    assert Answer.from_json(captured.out).text == expected.text
    assert expected.text in captured.err


def test_questions_are_turns_about_a_video_that_is_read_once(
    taught: list, clip: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, real = [], Walk.watch

    def watch(self: Walk, video: object, **settings: object) -> object:
        watched.append(real(self, video, **settings))  # type: ignore[arg-type]
        return watched[-1]

    monkeypatch.setattr(Walk, "watch", watch)
    assert run("ask", clip, QUESTION, "And who else?", "--json", tmp_path / "two.json") == 0
    (session,) = watched
    assert [question for question, _ in session.history] == [QUESTION, "And who else?"]
    assert [entry["question"] for entry in json.loads((tmp_path / "two.json").read_text())] == [QUESTION, "And who else?"]


def test_every_frame_gets_a_mask_and_an_overlay_shows_them(taught: list, clip: Path, run: Run, tmp_path: Path) -> None:
    overlay, kept = tmp_path / "seen.mp4", tmp_path / "a.json"
    assert run("ask", clip, QUESTION, "--every-frame", "--overlay", overlay, "--json", kept) == 0
    assert len(Answer.from_json(kept.read_text()).tracks[0].rle) == 12
    assert len(open_video(overlay)) == 12


def test_each_question_has_an_overlay_of_its_own(taught: list, clip: Path, run: Run, tmp_path: Path) -> None:
    assert run("ask", clip, QUESTION, "And who else?", "--overlay", tmp_path / "seen.png") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen-2.png", "seen.png"]


def test_rate_window_and_mode_reach_the_walk(taught: list, clip: Path, run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "a.json"
    words = ["--fps", 3, "--start", 0.5, "--end", 1.5, "--mode", "frames", "--max-new-tokens", 3]
    assert run("ask", clip, QUESTION, *words, "--json", kept) == 0
    answer = Answer.from_json(kept.read_text())
    assert answer.finish == "length"
    assert all(0.5 <= time <= 1.5 for time in answer.sampling.grounding_times)
    assert answer.sampling.grounding_times[1] - answer.sampling.grounding_times[0] == pytest.approx(1 / 3, abs=0.01)


def test_model_device_and_dtype_are_passed_on(taught: list, clip: Path, run: Run) -> None:
    assert run("ask", clip, QUESTION, "--model", "somewhere", "--dtype", "bfloat16", "--quantise", "8bit") == 0
    assert taught == [("somewhere", {"device": "cpu", "dtype": "bfloat16", "quantise": "8bit"})]


def test_words_are_streamed_to_a_terminal(
    expected: Answer, taught: list, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    assert run("ask", clip, QUESTION) == 0
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert expected.text[:12] in shown.split("\x1b[?25h")[0]  # while it was being written


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fps", "2", "--every-frame"], "one of them"),
        (["--overlay", "a.avi"], ".mp4, .html, .png"),
        (["--mode", "sideways"], "sideways"),
        (["--temperature", "-1"], "temperature"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_model_is_loaded(
    taught: list, clip: Path, run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", clip, QUESTION, *words) == 2
    assert told in capsys.readouterr().err
    assert taught == []


@pytest.mark.parametrize("option", ["--json", "--overlay"])
@pytest.mark.parametrize(("place", "told"), [("folder.png", "a folder"), ("file/a.png", "may be written to")])
def test_a_place_that_takes_no_file_is_refused_before_the_model_is_loaded(
    taught: list,
    clip: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    place: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    assert run("ask", clip, QUESTION, option, place) == 2
    assert told in capsys.readouterr().err
    assert taught == []


def test_an_mp4_of_an_image_is_refused_before_the_model_is_loaded(
    taught: list, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48)).save("a.png")
    assert run("ask", "a.png", QUESTION, "--overlay", "o.mp4") == 2
    assert "o.mp4 of an image" in capsys.readouterr().err
    assert taught == []


@pytest.mark.parametrize("kind", ["mp4", "html"])
def test_a_video_of_one_frame_is_a_video(taught: list, run: Run, tmp_path: Path, kind: str) -> None:
    video = tmp_path / "one.mp4"
    write_mp4(video, [(0.0, fakes.video(1)[0])], last=1 / 6)
    assert run("ask", video, QUESTION, "--overlay", tmp_path / f"o.{kind}", "--json", tmp_path / "a.json") == 0
    assert not Answer.from_json((tmp_path / "a.json").read_text()).is_image
    assert kind == "html" or len(open_video(tmp_path / "o.mp4")) == 1


def test_json_is_kept_when_painting_fails(
    taught: list, clip: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Answer, "save_overlay", fail)
    assert run("ask", clip, QUESTION, "--overlay", tmp_path / "o.mp4", "--json", tmp_path / "a.json") == 2
    assert Answer.from_json((tmp_path / "a.json").read_text()).question == QUESTION


def test_a_missing_video_exits_2_and_names_it(taught: list, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ask", "nowhere.mp4", QUESTION) == 2
    assert "VideoNotFound" in (told := capsys.readouterr().err)
    assert "nowhere.mp4" in told


def test_files_of_later_questions_are_numbered() -> None:
    assert [str(numbered(Path("a/b.mp4"), n)) for n in (1, 2, 10)] == ["a/b.mp4", "a/b-2.mp4", "a/b-10.mp4"]
