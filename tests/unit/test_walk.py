import gc
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import fakes
from tests.unit.media import clips
from vglamm import checkpoint
from vglamm.answer import Answer
from vglamm.clock import STAGES, Clock
from vglamm.errors import CheckpointError, ConfigError, DialogueError, MaskError, VideoError, VideoFrameError, VideoNotFound
from vglamm.records import Marks, Phrase
from vglamm.walk import Walk, load

TEXT = "a cat sees a dog frames:(1,3)."


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk.of(fakes.talker(), fakes.tokenizer())


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return clips.encode(tmp_path_factory.mktemp("walk") / "film.mp4", numbers=range(30), rate=10, size=(96, 64))


def same(one: Answer, other: Answer) -> None:
    assert (one.text, one.raw, one.phrases, one.moments, one.sampling) == (
        other.text,
        other.raw,
        other.phrases,
        other.moments,
        other.sampling,
    )
    assert [track.rle for track in one.tracks] == [track.rle for track in other.tracks]


def test_a_file_is_asked(walk, film):
    answer = walk.ask(film, "what?", fps=2.0)
    assert answer.text == TEXT
    assert [phrase.text for phrase in answer.phrases] == ["a cat", "a dog"]
    assert answer.sampling.grounding_indices == (0, 5, 10, 15, 20, 25)
    assert answer.sampling.llm_indices == (0, 5, 15, 25)
    assert answer.sampling.size == (64, 96)
    assert {len(track.rle) for track in answer.tracks} == {6}
    assert answer.moments == ((0.5, 2.5),)
    assert (answer.source, answer.model, answer.finish) == (str(film), "fake", "stop")
    assert set(answer.timings) == set(STAGES)
    assert all(seconds > 0 for seconds in answer.timings.values())
    assert Answer.from_json(answer.to_json()) == answer


def test_an_array_gives_the_answer_of_its_frames(walk):
    video = fakes.video(12)
    answer = walk.ask(video, "what?", source_fps=6.0, every_frame=True)
    assert answer.source == "<array>"
    assert answer.sampling.grounding_times[-1] == pytest.approx(11 / 6)
    same(answer, walk.ask(video, "what?", fps=6.0))


def test_a_folder_of_frames_has_a_rate_of_its_own(walk, tmp_path):
    from PIL import Image

    for number, frame in enumerate(fakes.video(50)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    for options, rate, frames in (({}, 25.0, 2), ({"source_fps": 10.0}, 10.0, 5)):
        sampling = walk.ask(tmp_path, "what?", fps=1.0, **options).sampling
        assert (sampling.source_fps, len(sampling.grounding_indices)) == (rate, frames)


def test_an_image_is_asked(walk, tmp_path):
    from PIL import Image

    picture = fakes.video(1)[0]
    Image.fromarray(picture).save(tmp_path / "still.png")
    answer = walk.ask(tmp_path / "still.png", "what?")
    assert answer.is_image
    assert (answer.text, len(answer.tracks[0].rle)) == (TEXT, 1)
    same(answer, walk.ask(picture, "what?"))
    same(answer, walk.ask(Image.fromarray(picture), "what?"))


@pytest.mark.parametrize("mode", ["video", "frames", "anchor"])
def test_every_mode_grounds_every_frame(walk, mode):
    answer = walk.ask(fakes.video(20), "what?", source_fps=5.0, every_frame=True, mode=mode)
    assert [len(track.scores) for track in answer.tracks] == [20, 20]


def test_vision_runs_once_for_all_turns_of_a_session(walk, film):
    runs: list[int] = []
    handle = walk.vision.part.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        session = walk.watch(film, fps=2.0)
        first, second = session.ask("what?"), session.ask("and now?", mode="frames")
    finally:
        handle.remove()
    assert runs == [1]
    assert session.history == [("what?", fakes.ANSWER), ("and now?", second.raw)]
    assert first.timings["vision"] > 0
    assert second.timings["vision"] == second.timings["probe"] == 0
    asked = (session.tokens, (("what?", fakes.ANSWER),), "and now?")
    assert walk.language([asked])[0].raw == second.raw


@pytest.mark.parametrize("mode", ["video", "frames", "anchor"])
def test_the_trunk_sees_each_grounding_frame_once_in_a_session(walk, film, mode):
    """Also when a turn is left half way, and when the next one is in another mode; masks are those of a session of its own."""
    seen: list[int] = []
    handle = walk.pixel.part.sam.image_encoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    try:
        session = walk.watch(film, fps=5.0, mode="video")
        left = session.stream("what?")
        next(event for event in left if isinstance(event, tuple))
        left.close()
        assert sum(seen) == 1
        turns = [session.ask("what?"), session.ask("and now?", mode=mode)]
        assert sum(seen) == len(turns[0].sampling.grounding_indices) == 15
    finally:
        handle.remove()
    other = walk.watch(film, fps=5.0)
    other.history = session.history[:1]
    same(turns[0], walk.ask(film, "what?", fps=5.0))
    same(turns[1], other.ask("and now?", mode=mode))


def test_of_a_long_video_no_feature_is_kept(walk, film, monkeypatch):
    monkeypatch.setitem(vars(walk.pixel.part.config), "cache", 14)
    session = walk.watch(film, fps=5.0)
    first = session.ask("what?")
    session.history.clear()
    same(session.ask("what?"), first)
    assert session._chunks._ahead == ()


def test_what_is_kept_ends_with_its_session(walk, film):
    session = walk.watch(film, fps=5.0)
    session.ask("what?")
    kept = weakref.ref(session._chunks._ahead[0])
    gc.disable()
    try:
        del session
        assert kept() is None
    finally:
        gc.enable()


def test_a_stream_shows_text_then_masks_frame_by_frame(walk):
    session = walk.watch(fakes.video(6), fps=6.0)
    events = list(session.stream("what?"))
    answer = events[-1]
    text = [event for event in events if isinstance(event, str)]
    phrases = [event for event in events if isinstance(event, Phrase)]
    rows = [event for event in events if isinstance(event, tuple)]
    assert "".join(text) == answer.raw
    assert phrases == list(answer.phrases)
    for phrase in phrases:
        assert events[events.index(phrase) - 1].endswith("[SEG]")
    assert events[: len(text) + 2] == [event for event in events if isinstance(event, str | Phrase)]
    assert [k for k, _ in rows] == list(range(6))
    assert [row[0].rle for _, row in rows] == list(answer.tracks[0].rle)
    heard: list[str] = []
    assert walk.watch(fakes.video(6), fps=6.0).ask("what?", on_text=heard.append).raw == "".join(heard)


def test_masks_leave_while_later_frames_are_not_yet_read(walk):
    """A long video is neither held nor waited for: the first mask is there after one chunk."""
    session = walk.watch(fakes.video(60), source_fps=10.0, every_frame=True)
    read: list[int] = []
    stream = session.source.stream
    session.source.stream = lambda indices, chunk: ((read.extend(map(int, i)), (i, f))[1] for i, f in stream(indices, chunk))
    rows = (event for event in session.stream("what?") if isinstance(event, tuple))
    assert next(rows)[0] == 0
    assert read == [0, 1, 2]
    assert [k for k, _ in rows] == list(range(1, 60))
    assert read == list(range(60))


def test_many_are_answered_as_one_by_one(walk, film):
    requests = [(film, "what?"), (fakes.video(1)[0], "and here?"), (film, "who is it?")]
    together = walk.ask_many(requests, batch=2, fps=2.0)
    for (video, question), answer in zip(requests, together, strict=True):
        same(answer, walk.ask(video, question, fps=2.0))
    assert walk.ask_many([]) == []
    with pytest.raises(ConfigError, match="batches of 0"):
        walk.ask_many(requests, batch=0)


def test_a_span_and_a_limit(walk, film):
    answer = walk.ask(film, "what?", every_frame=True, limit=3, start=1.0, end=2.0)
    assert answer.sampling.grounding_indices == (10, 14, 19)


def test_a_moment_ends_with_the_span_that_was_asked_about(walk, film):
    """The reply's ``frames:(1,3)`` are the last two frames that are seen of this span, and of the whole."""
    assert walk.ask(film, "what?", every_frame=True, limit=3, start=1.0, end=2.0).moments == (pytest.approx((1.4, 2.0)),)
    assert walk.ask(film, "what?", every_frame=True, limit=3, start=1.0).moments == (pytest.approx((1.9, 3.0)),)


def test_drawing_is_reproducible(walk):
    video = fakes.video(4)
    drawn = [walk.ask(video, "what?", fps=4.0, temperature=2.0, seed=seed, max_new_tokens=12).raw for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_truncated_source_is_told(walk):
    from vglamm.media.read import ArraySource

    source = ArraySource(fakes.video(5), 5.0)
    source.truncated = True
    answer = walk.ask(source, "what?")
    assert answer.sampling.truncated
    assert any("truncated" in warning for warning in answer.warnings)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"question": "  "}, DialogueError, "empty question"),
        ({"question": "caf\udce9?"}, DialogueError, r"question with '\\udce9', which is no letter"),
        ({"question": "why? " * 200}, DialogueError, r"\d+ text tokens and 32 visual tokens"),
        ({"mode": "fast"}, ConfigError, "mode 'fast'"),
        ({"start": 99.0}, VideoFrameError, "no frame from 99"),
        ({"fps": 0.0, "source_fps": 4.0}, VideoFrameError, "sampling rate of 0"),
        ({"temperature": -1.0}, DialogueError, "temperature -1"),
        ({"video": fakes.video(3)[:0]}, VideoError, "at least 1"),
        ({"video": "no/such/film.mp4"}, VideoNotFound, "no/such/film.mp4"),
    ],
)
def test_what_cannot_be_asked(walk, options, error, word):
    given = {"video": fakes.video(3), "question": "what?", "fps": 4.0, **options}
    with pytest.raises(error, match=word):
        walk.ask(given.pop("video"), given.pop("question"), **given)


def test_a_failed_turn_is_no_turn(walk):
    session = walk.watch(fakes.video(3), fps=3.0)
    with pytest.raises(DialogueError):
        session.ask("")
    assert session.history == []
    assert session.ask("what?").text == TEXT


def test_load_reads_a_checkpoint(walk, tmp_path):
    checkpoint.save(fakes.talker(), tmp_path, tokenizer=fakes.tokenizer())
    loaded = load(tmp_path)
    assert loaded.name == checkpoint.identity(tmp_path)
    video = fakes.video(6)
    answer = loaded.ask(video, "what?", fps=6.0)
    same(answer, walk.ask(video, "what?", fps=6.0))
    assert answer.model.startswith("fake@")
    assert load(tmp_path, dtype="bfloat16").ask(video, "what?", fps=6.0).text == TEXT
    with pytest.raises(CheckpointError):
        load(tmp_path / "nothing")


def test_a_clock_counts_a_stage_inside_another_for_itself_alone(monkeypatch):
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("vglamm.clock.time.perf_counter", lambda: next(now))
    clock = Clock()
    with clock.run("pixel"), clock.run("decode"):
        pass
    assert clock.spent["decode"] == 3.0
    assert clock.spent["pixel"] == 7.0


def test_the_package_imports_nothing_heavy():
    script = "import vglamm, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules; print(vglamm.__all__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    import vglamm

    assert vglamm.load is load
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vglamm.no_such_name


def test_frames_are_not_changed(walk):
    video = fakes.video(5)
    kept = video.copy()
    walk.ask(video, "what?", fps=5.0)
    np.testing.assert_array_equal(video, kept)


def test_a_correction_replaces_one_track_and_says_so(walk, film):
    answer = walk.ask(film, "what?", fps=2.0)
    *rows, again = walk.correct(answer, 1, Marks(2, ((40.0, 30.0, True),)))
    assert [k for k, _ in rows] == [2, 3, 4, 5, 1, 0]
    assert isinstance(again, Answer)
    assert again.tracks[0] == answer.tracks[0]
    assert again.tracks[1] != answer.tracks[1]
    assert [again.sights(k)[1] for k, _ in rows] == [row[0] for _, row in rows]
    assert again.warnings[-1] == "the mask of 'a dog' was corrected by hand on grounding frame 2"
    assert (again.text, again.phrases, again.sampling) == (answer.text, answer.phrases, answer.sampling)
    assert Answer.from_json(again.to_json()) == again
    for track, marks in ((2, Marks(0, ((1.0, 1.0, True),))), (0, Marks(6, ((1.0, 1.0, True),)))):
        with pytest.raises(MaskError, match="one of 2 tracks on one of 6 frames"):
            next(walk.correct(answer, track, marks))


def test_an_answer_about_an_array_is_shown_and_corrected_with_it(walk, tmp_path):
    video = fakes.video(6)
    answer = walk.ask(video, "what?", fps=3.0)
    with pytest.raises(VideoFrameError, match="pass video="):
        answer.save_overlay(tmp_path / "a.mp4")
    with pytest.raises(VideoFrameError, match="pass video="):
        next(walk.correct(answer, 0, Marks(0, ((1.0, 1.0, True),))))
    assert answer.save_overlay(tmp_path / "a.mp4", video).is_file()
    assert list(walk.correct(answer, 0, Marks(0, ((1.0, 1.0, True),)), video))[-1].phrases == answer.phrases


def test_a_correction_starts_from_the_mask_before(walk, film):
    answer = walk.ask(film, "what?", fps=2.0)
    marks = Marks(0, ((40.0, 30.0, True),))
    own = next(walk.correct(answer, 0, marks))
    told = next(walk.correct(answer, 0, replace(marks, before=answer.tracks[0].rle[0])))
    other = next(walk.correct(answer, 0, replace(marks, before=answer.tracks[1].rle[0])))
    assert own == told
    assert own != other
