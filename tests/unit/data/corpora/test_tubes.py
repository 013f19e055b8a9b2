"""VidSTG and HC-STVG in their layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.data.corpora.disk import edit, put
from vglamm.data.corpora import read
from vglamm.errors import CorpusError
from vglamm.frames import choose
from vglamm.media.mp4 import write_mp4
from vglamm.presets import preset

FPS, COUNT = 10.0, 60


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not opened by these tests")


def _vidstg(root: Path, frame_count: int = COUNT) -> Path:
    """A video of 6 s at 10 fps; segment of frames 5..54, moment of frames 12..41, once asked for and once described."""
    _touch(root / "vidstg/video/0001/55.mp4")
    shared = {
        "original_video_id": "55", "frame_count": frame_count, "fps": FPS, "width": 16, "height": 12, "start_frame": 5,
        "end_frame": 55, "tube_start_frame": 12, "tube_end_frame": 42, "video_path": "0001/55.mp4", "type": "x", "target_id": 3,
    }  # fmt: skip
    videos = [
        {**shared, "video_id": 0, "caption": "Who is beside the Dog?", "qtype": "interrogative"},
        {**shared, "video_id": 1, "caption": "the Man beside the dog", "qtype": "declarative"},
    ]
    boxes = {str(i): {"bbox": [i / 10, 1, 4, 5]} for i in range(10, 45)}
    return put(
        root / "processed/vidstg/vidstg_annotations/test.json",
        {"videos": videos, "trajectories": {"55": {"3": boxes}}, "obj_categories": {}},
    )


def test_vidstg_asks_in_two_ways_and_keeps_the_case_of_letters(tmp_path):
    _vidstg(tmp_path)
    question, statement = read("vidstg", tmp_path)
    assert question.question == "Who is beside the Dog? Please respond with segmentation masks."
    assert statement.question == "Can you segment the Man beside the dog in this video?"
    assert [case.meta["kind"] for case in (question, statement)] == ["interrogative", "declarative"]
    assert question.video == statement.video
    assert question.usable


def test_vidstg_truth_is_in_frames_and_pixels_of_the_file(tmp_path):
    _vidstg(tmp_path)
    truth = next(read("vidstg", tmp_path)).truth
    assert truth.moment == (12, 41)
    assert truth.seconds == (1.2, 4.2)
    assert truth.boxes([11, 12, 41, 42]) == [None, (1.2, 1.0, 5.2, 6.0), (4.1, 1.0, 8.1, 6.0), None]
    assert truth.size == (12, 16)
    assert truth.tube is not None
    assert set(truth.tube) == set(range(12, 42))


def test_frames_are_one_a_second_of_the_moment_or_of_the_segment(tmp_path):
    _vidstg(tmp_path)
    pixels = np.zeros((12, 16, 3), np.uint8)
    write_mp4(tmp_path / "vidstg/video/0001/55.mp4", ((i / FPS, pixels) for i in range(COUNT)), 1 / FPS)
    picked = {}
    for task in ("vidstg", "vidstg_moment"):
        case = next(read(task, tmp_path))
        source = case.media.open()
        case.check(len(source), (source.info.height, source.info.width))
        picked[task] = choose(source, preset("tiny"), **case.frames.sampling()).grounding_indices
    assert picked == {"vidstg": (12, 22, 32), "vidstg_moment": (5, 15, 25, 35, 45)}
    assert case.frames.limit == 40


def test_a_video_file_may_be_a_little_longer_or_shorter_than_its_annotation_but_must_have_the_moment(tmp_path):
    _vidstg(tmp_path)
    case = next(read("vidstg", tmp_path))
    case.check(COUNT + 1, (12, 16))
    case.check(42, (12, 16))
    with pytest.raises(CorpusError, match="41 frames"):
        case.check(41, (12, 16))
    with pytest.raises(CorpusError, match="of size"):
        case.check(COUNT, (224, 298))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index["trajectories"]["55"]["3"].pop("20"), "'20'"),
        (lambda index: index["trajectories"]["55"].pop("3"), "'3'"),
        (lambda index: index["trajectories"]["55"]["3"]["12"].update(bbox=[0, 0, 0, 4]), "width and height above 0"),
        (lambda index: [video.update(frame_count=41) for video in index["videos"]], "frames 12 to 41 of 41"),
        (lambda index: [video.update(video_path="0001/56.mp4") for video in index["videos"]], "56.mp4"),
    ],
)
def test_what_does_not_fit_is_the_problem_of_its_case(tmp_path, change, told):
    edit(_vidstg(tmp_path), change)
    cases = list(read("vidstg", tmp_path))
    assert len(cases) == 2
    assert all(told in str(case.problem) for case in cases)


@pytest.mark.parametrize(
    ("more", "told"), [({"qtype": "other"}, "qtype 'other'"), ({"fps": 0}, "0 frames per second"), ({"fps": "x"}, "videos/1/fps")]
)
def test_an_index_that_is_not_of_this_layout_is_refused(tmp_path, more, told):
    edit(_vidstg(tmp_path), lambda index: index["videos"][1].update(more))
    with pytest.raises(CorpusError, match=told):
        list(read("vidstg", tmp_path))


def _raw(first: int = 3) -> dict[str, Any]:
    """20 s in 100 frames; boxes on frames ``first`` to ``first`` + 19 of frames that count from 1."""
    boxes = [[i, 1, 4, 5] for i in range(20)]
    return {
        "9_abc.mp4": {
            "img_num": 100, "img_size": [12, 40], "st_frame": first, "st_time": 0.4, "ed_time": 4.4, "bbox": boxes,
            "English": "The man in Red sits down.",
        }
    }  # fmt: skip


def _processed(first: int = 3) -> list[dict[str, Any]]:
    (raw,) = _raw(first).values()
    return [
        {
            "original_video_id": "9_abc", "frame_count": 100, "width": 40, "height": 12, "tube_start_frame": first,
            "tube_end_frame": first + 20, "tube_start_time": 0.4, "tube_end_time": 4.4, "video_path": "part1/9_abc.mp4",
            "caption": raw["English"], "video_id": 0, "trajectory": raw["bbox"],
        }
    ]  # fmt: skip


PROCESSED = "processed/hcstvg/hcstvg_annotations"


@pytest.mark.parametrize("index", ["raw", f"{PROCESSED}/val_v2_proc.json", f"{PROCESSED}/valv2_proc.json"])
def test_hcstvg_says_the_same_from_every_index(tmp_path, index):
    _touch(tmp_path / "hcstvg/Video/part1/9_abc.mp4")
    put(tmp_path / "hcstvg/anno_v2/val_v2.json", _raw()) if index == "raw" else put(tmp_path / index, _processed())
    (case,) = read("hcstvg", tmp_path)
    assert case.usable
    assert case.question == "Can you segment The man in Red sits down. in this video?"
    assert case.truth.size == (12, 40)
    assert case.truth.moment == (2, 21), "the first frame of the set is 1, here it is 0"
    assert case.truth.boxes([1, 2, 21, 22]) == [None, (0.0, 1.0, 4.0, 6.0), (19.0, 1.0, 23.0, 6.0), None]
    assert case.truth.seconds == (0.4, 4.4)
    assert case.frames.start == pytest.approx(1.5 / 5)
    (whole,) = read("hcstvg_moment", tmp_path)
    assert (whole.frames.start, whole.frames.end, whole.frames.fps) == (None, None, 1.0)


def test_hcstvg_counts_from_0_if_the_index_does(tmp_path):
    _touch(tmp_path / "hcstvg/Video/part1/9_abc.mp4")
    put(tmp_path / "hcstvg/anno_v2/val_v2.json", _raw(0))
    (case,) = read("hcstvg", tmp_path)
    assert case.truth.moment == (0, 19)


def test_hcstvg_asks_the_written_questions_where_there_are_some(tmp_path):
    _touch(tmp_path / "hcstvg/Video/part1/9_abc.mp4")
    put(tmp_path / "hcstvg/anno_v2/val_v2.json", _raw())
    put(tmp_path / "hcstvg/qa/0.json", {"Q": "Who sits down?", "A": "The man."})
    (case,) = read("hcstvg", tmp_path)
    assert case.question == "Who sits down? Please respond with segmentation masks."
    assert (case.meta["kind"], case.meta["asked_from"]) == ("interrogative", "qa")
    (tmp_path / "hcstvg/qa/0.json").unlink()
    (case,) = read("hcstvg", tmp_path)
    assert "0.json" in str(case.problem)


def test_hcstvg_with_too_few_boxes_or_no_video(tmp_path):
    entries = _processed()
    entries[0]["tube_end_frame"] = 30
    path = put(tmp_path / PROCESSED / "val_v2_proc.json", entries)
    with pytest.raises(CorpusError, match="20 boxes"):
        list(read("hcstvg", tmp_path))
    put(path, _processed(90))
    (case,) = read("hcstvg", tmp_path)
    assert "9_abc.mp4" in str(case.problem)
    assert case.truth.tube is None
