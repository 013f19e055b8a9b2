"""A folder of frames as one file: the same pictures at the same times, so that a server sees what is seen here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vglamm.errors import VideoUnreadable
from vglamm.frames import choose, end_of
from vglamm.media.lossless import write_lossless
from vglamm.media.read import ArraySource, open_video
from vglamm.presets import preset


@pytest.mark.parametrize(("fps", "count"), [(25.0, 11), (6.0, 5), (30000 / 1001, 40), (23.976, 9), (0.5, 3), (25.0, 1)])
def test_pictures_and_times_come_back(tmp_path: Path, fps: float, count: int) -> None:
    chance = np.random.default_rng(count)
    (tmp_path / "frames").mkdir()
    for number in range(count):  # noise of an odd size: nothing that a codec could guess
        Image.fromarray(chance.integers(0, 256, (37, 53, 3), np.uint8)).save(tmp_path / "frames" / f"{number:05d}.png")
    folder = open_video(tmp_path / "frames", fps=fps)
    write_lossless(tmp_path / "sent.mp4", folder)
    sent = open_video(tmp_path / "sent.mp4")
    assert len(sent) == count
    assert not sent.truncated
    assert np.array_equal(sent.frames_at(range(count)), folder.frames_at(range(count)))
    np.testing.assert_allclose(sent.times, folder.times, rtol=1e-9, atol=1e-9)
    for sampling in ({"every_frame": True}, {"fps": 2.0}, {}):
        here, there = choose(folder, preset("tiny"), **sampling), choose(sent, preset("tiny"), **sampling)
        times = {"llm_times": here.llm_times, "grounding_times": here.grounding_times, "source_fps": here.source_fps}
        assert replace(there, **times) == here
    assert end_of(sent) == pytest.approx(end_of(folder))
    assert sent.info.fps == pytest.approx(folder.info.fps)


def test_a_rate_that_no_file_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoUnreadable, match="a rate above 0"):
        write_lossless(tmp_path / "sent.mp4", ArraySource(np.zeros((2, 4, 4, 3), np.uint8), 1e-9))
