"""The gallery: clips that play, the same every time, with questions that fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.http import gallery
from vglamm.media.read import open_video

NAMES = ["shapes", "mixed", "things", "film"]


def test_the_listing_tells_of_every_clip() -> None:
    told = gallery.listing()["clips"]
    assert [clip["name"] for clip in told] == NAMES
    assert all(clip["questions"] and clip["title"] for clip in told)
    assert [clip["url"] for clip in told] == [f"/v1/gallery/{name}.mp4" for name in NAMES]
    assert [bool(clip["credit"]) for clip in told] == [False, False, True, True]  # what holds frames of the film names it


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_what_the_listing_says(name: str, tmp_path: Path) -> None:
    (clip,) = (clip for clip in gallery.clips() if clip.name == name)
    path = tmp_path / "clip.mp4"
    path.write_bytes(gallery.content(name) or b"")
    video = open_video(path)
    assert (video.info.height, video.info.width) == clip.size
    assert len(video) / video.info.fps == pytest.approx(clip.seconds)
    assert len(clip.content) < 400_000


def test_questions_are_about_what_is_seen() -> None:
    for plan, clip in zip(gallery.DRAWN, gallery.clips(), strict=False):
        seen = " ".join(f"{item.colour} {item.noun}" for item in plan.scene().objects)
        named = [word for question in clip.questions for word in question.rstrip(".?").split() if word in seen.split()]
        assert named, clip.name


def test_there_is_no_other_clip() -> None:
    assert gallery.content("../film") is None
