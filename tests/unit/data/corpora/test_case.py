"""Cases: what travels, what is asked of which frames, and what the truth gives."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.unit.data.corpora.disk import LEFT, NAMES, H, W, frames, mevis, png
from vglamm.data.corpora import Case, Frames, Media, Truth, clips, read
from vglamm.data.corpora.masks import ObjectMaps
from vglamm.errors import ConfigError, CorpusError
from vglamm.frames import choose
from vglamm.media.read import open_video
from vglamm.presets import preset


def test_a_row_names_the_frames_by_a_plain_path(tmp_path):
    mevis(tmp_path)
    row = next(read("mevis", tmp_path, "valid_u")).row(tmp_path / "links")
    assert json.loads(json.dumps(row)) == row
    assert row["uri"] == str(tmp_path / "mevis/valid_u/JPEGImages/ab")
    assert row["case"] == "mevis/valid_u/ab/0"
    opened = open_video(row["uri"], fps=row["source_fps"])
    assert len(opened) == 3
    assert not {"masks", "truth", "phrases"} & row.keys()


def test_some_frames_of_a_folder_become_a_folder_of_links(tmp_path):
    frames(tmp_path / "v", ["0", "1", "2", "3"])
    media = Media(str(tmp_path / "v"), ("1.jpg", "3.jpg"), 6.0)
    path = media.plain(tmp_path / "links")
    assert path == media.plain(tmp_path / "links")
    np.testing.assert_array_equal(open_video(path, fps=6.0).frames_at([0, 1]), media.open().frames_at([0, 1]))
    assert open_video(path).frames_at([1])[0, 0, 0, 0] == 30
    other = Media(str(tmp_path / "v"), ("0.jpg", "3.jpg"), 6.0)
    assert other.plain(tmp_path / "links") != path


def test_truth_reads_the_frames_that_are_asked_for(tmp_path):
    png(tmp_path / "a" / "1.png", LEFT * 255)
    png(tmp_path / "a" / "0.png", ~LEFT * 255)
    truth = Truth(("x",), frames=2, size=(H, W), masks_of=ObjectMaps(((str(tmp_path / "a"),),), ("0.png", "1.png"), (H, W)))
    np.testing.assert_array_equal(truth.masks([1, 0]), np.stack([LEFT, ~LEFT])[None])
    assert truth.masks().shape == (1, 2, H, W)
    for frame in (2, -1):
        with pytest.raises(CorpusError, match=f"frame {frame}"):
            truth.masks([frame])
    with pytest.raises(CorpusError, match="boxes"):
        truth.boxes([0])
    with pytest.raises(CorpusError, match="without them"):
        Truth(("x",), frames=2).masks()


def test_a_case_can_be_pickled_and_its_truth_still_read(tmp_path):
    mevis(tmp_path)
    case = next(read("mevis", tmp_path, "valid_u"))
    again: Case = pickle.loads(pickle.dumps(case))
    np.testing.assert_array_equal(again.truth.masks(), case.truth.masks())
    assert again == case


def test_another_version_of_the_video_is_noticed(tmp_path):
    mevis(tmp_path)
    case = next(read("mevis", tmp_path, "valid_u"))
    case.check(3, (H, W))
    with pytest.raises(CorpusError, match="of size"):
        case.check(3, (W, H))
    with pytest.raises(CorpusError, match="4 frames"):
        case.check(4, (H, W))


def test_clips_are_consecutive_and_leave_no_frame_out(tmp_path):
    frames(tmp_path / "v", [f"{i:03d}" for i in range(7)])
    media = Media(str(tmp_path / "v"), tuple(f"{i:03d}.jpg" for i in range(7)), 24.0)
    case = Case("c", "v", media, "what?", Truth(("x",), frames=7))
    parts = list(clips(case, 3))
    assert [part.meta["clip"] for part in parts] == [(0, 3), (3, 6), (6, 7)]
    assert [part.id for part in parts] == ["c@0", "c@1", "c@2"]
    opened = open_video(media.uri, fps=24.0)
    picked = [choose(opened, preset("tiny"), **part.frames.sampling()).grounding_indices for part in parts]
    assert picked == [(0, 1, 2), (3, 4, 5), (6,)]
    with pytest.raises(CorpusError, match="clips of 0"):
        list(clips(case, 0))


def test_all_frames_are_asked_for_unless_a_rate_is_given():
    assert Frames().sampling() == {"every_frame": True, "limit": None, "start": None, "end": None}
    assert Frames(1.0, 40, 2.0, 5.0).sampling() == {"fps": 1.0, "limit": 40, "start": 2.0, "end": 5.0}


def test_unknown_names_are_errors_at_once(tmp_path):
    with pytest.raises(ConfigError, match="task 'mevi'"):
        read("mevi", tmp_path)
    with pytest.raises(ConfigError, match="split 'test'"):
        read("mevis", tmp_path, "test")
    with pytest.raises(CorpusError, match="no folder"):
        read("mevis", tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"meta_expressions\.json"):
        next(read("mevis", tmp_path))


def test_a_missing_video_is_a_case_that_cannot_be_used(tmp_path):
    folder = mevis(tmp_path)
    (folder / "JPEGImages" / "ab" / f"{NAMES[1]}.jpg").unlink()
    cases = list(read("mevis", tmp_path))
    assert len(cases) == 3
    assert not any(case.usable for case in cases)
    assert cases[0].truth.phrases == ("the dog on the left",)
    assert "00005.jpg" in str(cases[0].problem)
    with pytest.raises(CorpusError):
        cases[0].row(tmp_path)
