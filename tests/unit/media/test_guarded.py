"""Decoding in a child: the same frames, and whatever a decoder does, an error here and nothing left behind."""

from __future__ import annotations

import gc
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.media.clips import CLIPS, ClipFolder, encode, number_of, numbered
from tests.unit.media.doubles import AT, LIES, BeginningAgain, Inside, Lying, Made, Misbehaving
from tests.unit.media.processes import born
from vglamm.errors import VideoError, VideoFrameError, VideoNotFound, VideoTooLarge, VideoUnreadable
from vglamm.media import child_pipes
from vglamm.media.decoder_process import death
from vglamm.media.guarded import GuardedSource, open_guarded
from vglamm.media.limits import Limits
from vglamm.media.read import VideoSource, open_video

PATIENT = Limits(stall_seconds=60.0, memory=1 << 30)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _none_of_an_earlier_test() -> None:
    """A caught error keeps the frames of its traceback, and so a source and its idle child, until garbage is collected."""
    gc.collect()
    assert not born()


def read(video: VideoSource) -> tuple[list[tuple[int, bytes]], str]:
    """Every frame that a stream gives, and what it raises after them."""
    got: list[tuple[int, bytes]] = []
    try:
        for (index,), frames in video.stream(chunk=1):
            got.append((index, frames.tobytes()))
    except VideoError as error:
        return got, f"{type(error).__name__}: {error}"
    return got, ""


def read_until_it_fails(video: GuardedSource) -> VideoError:
    """The error; the frames before it must have come, and the next request must be answered."""
    frames = video.stream(chunk=1)
    assert [next(frames)[0].tolist() for _ in range(AT)] == [[index] for index in range(AT)]
    with pytest.raises(VideoError) as caught:
        next(frames)
    assert born() == set(), "the child is gone, and no zombie is left"
    assert video.frames_at([2, 0])[:, 0, 0, 0].tolist() == [2, 0]
    video.close()
    return caught.value


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_the_unguarded_source(clips: ClipFolder, name: str) -> None:
    plain = open_video(clips[name])
    guarded = GuardedSource(plain, PATIENT)
    some = np.random.default_rng(1).choice(60, 8).tolist()
    np.testing.assert_array_equal(guarded.frames_at(some), plain.frames_at(some))
    for ours, theirs in zip(guarded.stream(range(0, 60, 3), chunk=7), plain.stream(range(0, 60, 3), chunk=7), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("name", ["faststart.mp4", "mpeg4.avi"])
def test_a_truncated_file_ends_as_unguarded(clips: ClipFolder, name: str) -> None:
    path = clips.changed(name, lambda data: data[: len(data) * 6 // 10])
    plain, guarded = open_video(path), open_guarded(path)
    assert guarded.truncated
    assert guarded.info == plain.info
    np.testing.assert_array_equal(guarded.times, plain.times)
    assert read(guarded) == read(plain)
    with pytest.raises(VideoFrameError, match="truncated"):
        guarded.frames_at([59])


def test_a_damaged_file_gives_its_good_frames_and_the_same_error(clips: ClipFolder) -> None:
    def wipe_a_packet(data: bytes) -> bytes:
        return data[: len(data) // 2] + bytes(len(data) // 20) + data[len(data) // 2 + len(data) // 20 :]

    plain = open_video(clips.changed("faststart.mp4", wipe_a_packet))
    frames, error = read(GuardedSource(plain))
    assert frames
    assert "verify=True" in error
    assert (frames, error) == read(plain)


def test_images_and_folders(tmp_path: Path) -> None:
    for number in (5, 6, 7):
        Image.fromarray(numbered(number)).save(tmp_path / f"{number}.png")
    assert number_of(open_guarded(tmp_path / "6.png").frames_at([0])[0]) == 6
    folder = open_guarded(tmp_path, fps=5)
    assert [number_of(frame) for frame in folder.frames_at([2, 0])] == [7, 5]
    assert folder.times.tolist() == [0.0, 0.2, 0.4]
    with pytest.raises(VideoNotFound):
        open_guarded(tmp_path / "absent.mp4")


def test_a_crash_is_an_error_with_the_signal(capfd: pytest.CaptureFixture[str]) -> None:
    for act, name in (("segfault", "SIGSEGV"), ("abort", "SIGABRT")):
        error = read_until_it_fails(GuardedSource(Misbehaving(act), PATIENT))
        assert isinstance(error, VideoUnreadable)
        assert f"ended by {name} after {AT} frames" in error.got
        assert "<made>" in error.got
    assert capfd.readouterr().err == ""


def test_an_endless_loop_ends_after_the_stall_limit() -> None:
    for act in ("loop", "loop in C"):
        began = time.monotonic()
        error = read_until_it_fails(GuardedSource(Misbehaving(act), Limits(stall_seconds=1.0)))
        assert isinstance(error, VideoTooLarge)
        assert "gave nothing for 1 s after 3 frames" in error.got
        assert "Limits.stall_seconds" in error.fix
        assert time.monotonic() - began < 30, "a loaded machine may be slow; alone it takes 2 s"


def test_progress_without_end_is_stopped_by_processor_time() -> None:
    error = read_until_it_fails(GuardedSource(Misbehaving("beat for ever"), Limits(stall_seconds=60.0, cpu_seconds=1)))
    assert isinstance(error, VideoTooLarge)
    assert "processor time" in error.got


def test_processor_time_is_for_each_request() -> None:
    video = GuardedSource(Made(), Limits(cpu_seconds=1))
    pid = None
    for _ in range(3):
        video.frames_at([0])
        pids = born()
        assert pid in (None, pids)
        pid = pids
        limits = Path(f"/proc/{next(iter(pids))}/limits").read_text()
        assert 2 <= int(re.findall(r"Max cpu time +(\d+)", limits)[0]) <= 4


def test_memory_is_limited() -> None:
    error = read_until_it_fails(GuardedSource(Misbehaving("eat"), PATIENT))
    assert isinstance(error, VideoTooLarge)
    assert "more memory" in error.got
    assert "Limits.memory" in error.fix


@pytest.mark.parametrize("megabytes", [150, 280, 290, 300, 310])
def test_a_decoder_without_memory_says_so(tmp_path: Path, megabytes: int) -> None:
    """Too little for its libraries, for its own start, or for pictures: never a word of a damaged file."""
    clip = encode(tmp_path / "large.mp4", numbers=range(12), size=(1280, 960))
    video = GuardedSource(open_video(clip), Limits(memory=megabytes << 20))
    with pytest.raises(VideoTooLarge, match="more memory"):
        video.frames_at([0, 10])


def test_leaving_silently_is_an_error() -> None:
    for act in ("leave", "exit"):
        error = read_until_it_fails(GuardedSource(Misbehaving(act), PATIENT))
        assert isinstance(error, VideoUnreadable)
        assert "exit code 0 after 3 frames" in error.got


def test_the_last_words_are_told() -> None:
    error = read_until_it_fails(GuardedSource(Misbehaving("raise"), PATIENT))
    assert error.got.endswith("exit code 1 after 3 frames: ValueError: the moon is in the wrong house")


def test_noise_does_not_get_between_the_frames() -> None:
    assert GuardedSource(Misbehaving("make noise"), PATIENT).frames_at(range(20))[:, 3, 3, 2].tolist() == list(range(20))


@pytest.mark.parametrize("lie", LIES)
def test_answers_are_checked(lie: str) -> None:
    with pytest.raises(VideoUnreadable, match="no sensible answer"):
        GuardedSource(Lying(lie), PATIENT).frames_at(range(5))
    assert born() == set()


def test_frames_far_apart_may_come_twice() -> None:
    assert GuardedSource(BeginningAgain(), PATIENT).frames_at([9, 1, 4, 9])[:, 0, 0, 0].tolist() == [9, 1, 4, 9]


@pytest.mark.parametrize(
    ("code", "words", "kind", "got"),
    [(-9, "", VideoTooLarge, "killed by the system"), (-24, "", VideoTooLarge, "processor time"),
     (-6, "what():  std::bad_alloc", VideoTooLarge, "more memory"), (-200, "", VideoUnreadable, "by signal 200"),
     (3, "one\ntwo", VideoUnreadable, "exit code 3 after 5 frames: two")],
)  # fmt: skip
def test_what_a_death_is_called(code: int, words: str, kind: type[VideoError], got: str) -> None:
    error = death("clip.mp4", code, words, 5, Limits())
    assert type(error) is kind
    assert got in error.got


def test_a_slow_reader_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = time.monotonic, [0.0]
    monkeypatch.setattr(child_pipes.time, "monotonic", lambda: real() + away[0])
    for (index,), _ in GuardedSource(Made(), Limits(stall_seconds=30.0)).stream(chunk=1):
        away[0] += 1000.0
        assert index * 1000 == away[0] - 1000


def test_one_child_serves_requests_in_turn() -> None:
    video = GuardedSource(Made(), PATIENT)
    assert born() == set(), "none before frames are asked for"
    assert video.frames_at([]).shape == (0, 6, 8, 3)
    assert born() == set()
    video.frames_at([4])
    started = born()
    assert len(started) == 1
    assert len(list(video.stream(chunk=1))) == 20
    assert born() == started
    video.close()
    assert born() == set()
    video.frames_at([4])
    assert len(born() - started) == 1
    del video
    gc.collect()
    assert born() == set()


def test_closing_an_iterator_kills_its_child_at_once() -> None:
    video = GuardedSource(Misbehaving("loop"), PATIENT)
    frames = video.stream(chunk=1)
    next(frames)
    assert len(born()) == 1
    began = time.monotonic()
    frames.close()
    assert born() == set()
    assert time.monotonic() - began < 5


def test_a_child_that_died_while_idle_is_replaced() -> None:
    video = GuardedSource(Made(), PATIENT)
    video.frames_at([4])
    (pid,) = born()
    end = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([end], [], [], 10)[0]
    os.close(end)
    assert video.frames_at([5])[0, 0, 0].tolist() == [5, 5, 5]


@pytest.mark.parametrize("opens", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_many_opens_leave_nothing(clips: ClipFolder, opens: int) -> None:
    plain = open_video(clips["h264.mp4"])
    before = descriptors()
    for turn in range(opens):
        video = GuardedSource(plain, PATIENT)
        frames = video.stream(chunk=2)
        next(frames)
        if turn % 2:
            frames.close()
        del frames, video
        assert born() == set()
        assert descriptors() == before


def test_memory_is_bounded_on_both_sides() -> None:
    """Three hundred frames of 1.5 MB: the child waits for its reader."""
    video = GuardedSource(Made(300, 500, 1000), PATIENT)
    for (index,), frames in video.stream(chunk=1):
        assert frames[0, 0, 0, 0] == index % 256
    (pid,) = born()
    status = Path(f"/proc/{pid}/status").read_text()
    assert int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) < 150 * 1024


def test_several_at_once() -> None:
    shared = GuardedSource(Made(), PATIENT)

    def work(number: int) -> list[int]:
        source = shared if number % 2 else GuardedSource(Made(), PATIENT)
        return [int(frames[0, 0, 0, 0]) for _, frames in source.stream(chunk=1)] + source.frames_at([number])[:, 0, 0, 0].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [[*range(20), number] for number in range(8)]
    first, second = shared.stream(chunk=1), shared.stream(chunk=1)
    pairs = [(int(a[0]), int(b[0])) for (a, _), (b, _) in zip(first, second, strict=True)]
    assert pairs == [(i, i) for i in range(20)]
    shared.close()


def test_a_child_outlives_the_thread_that_started_it() -> None:
    """Why the kernel is not asked for a signal at the parent's death: it means the death of a thread."""
    video = GuardedSource(Made(), PATIENT)
    frames = video.stream(chunk=1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(next, frames).result()
    assert len(list(frames)) == 19


def test_a_source_can_be_sent_to_another_process() -> None:
    video = GuardedSource(Made(), PATIENT)
    video.frames_at([3])
    again = pickle.loads(pickle.dumps(video))
    assert again.limits == PATIENT
    assert again.frames_at([9])[0, 0, 0, 0] == 9
    np.testing.assert_array_equal(again.times, video.times)


def test_the_child_is_small_and_bound() -> None:
    video = GuardedSource(Inside(), PATIENT)
    with pytest.raises(VideoUnreadable, match="no torch"):
        video.frames_at([0])
    video = GuardedSource(Made(), PATIENT)
    video.frames_at([0])
    (pid,) = born()
    limits = Path(f"/proc/{pid}/limits").read_text()
    for name, value in (("core file size", 0), ("file size", 0), ("open files", 64), ("address space", 1 << 30)):
        assert re.search(rf"Max {name} +{value} ", limits), limits
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


SCRIPT_ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}  # where the doubles are found
PARENT = """
import sys
from tests.unit.media.doubles import Misbehaving
from tests.unit.media.processes import born
from vglamm.media.guarded import GuardedSource
video = GuardedSource(Misbehaving("loop in C"))
if sys.argv[1] == "idle":
    video.frames_at([0])
else:
    frames = video.stream(chunk=1)
    next(frames)
print(*born(), flush=True)
sys.stdin.read() if sys.argv[1] == "idle" else list(frames)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_the_child_dies_with_its_parent(state: str) -> None:
    command = [sys.executable, "-c", PARENT, state]
    with subprocess.Popen(command, env=SCRIPT_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert not select.select([child], [], [], 0)[0], "it lives"
            parent.kill()
            assert select.select([child], [], [], 10)[0], "it ends soon after"
        finally:
            os.close(child)


FORK = """
import os
from tests.unit.media.doubles import Made
from vglamm.media.guarded import GuardedSource
video = GuardedSource(Made())
video.frames_at([0])
half = video.stream(chunk=1)
next(half)
pid = os.fork()
if not pid:
    half.close()
    os._exit(0 if video.frames_at([7])[0, 0, 0, 0] == 7 else 1)
assert os.waitpid(pid, 0)[1] == 0
assert len(list(half)) == 19
assert video.frames_at([8])[0, 0, 0, 0] == 8
"""


def test_a_forked_process_starts_a_child_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORK], env=SCRIPT_ENVIRONMENT, check=True, timeout=120)
