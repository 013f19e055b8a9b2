"""An answer survives its JSON, fits its published schema, and refuses what it cannot be sure of."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from tests.unit.media.shapes import answer_about, movie
from vglamm.answer import Answer
from vglamm.errors import ConfigError, DialogueError, MaskError
from vglamm.records import Phrase

TIMES = (0.0, 0.1, 0.25, 0.3, 0.5, 0.6)
VIDEO, MASKS = movie(6, (36, 64))


@pytest.fixture
def answer() -> Answer:
    return answer_about(MASKS, TIMES, raw="<p> a red ball </p> [SEG] rolls past <p> a blue box </p> [SEG] in frames:(1,9).")


@pytest.fixture
def body(answer: Answer) -> dict[str, Any]:
    return json.loads(answer.to_json())


@pytest.fixture
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "docs" / "answer.schema.json").read_text())


def test_round_trip(answer: Answer) -> None:
    assert Answer.from_json(answer.to_json()) == answer
    assert Answer.from_json(answer.to_json(indent=2).encode()) == answer


def test_json_fits_the_published_schema(schema: dict[str, Any], body: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(body)


def test_schema_is_closed(schema: dict[str, Any], body: dict[str, Any]) -> None:
    for wrong in ({**body, "version": 2}, {**body, "more": 1}, {k: v for k, v in body.items() if k != "raw"}):
        assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None])
def test_unknown_versions_are_refused(body: dict[str, Any], version: Any) -> None:
    with pytest.raises(DialogueError, match="version"):
        Answer.from_json(json.dumps({**body, "version": version}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "{}",
        "[" * 200_000,
        '{"format": "vglamm.answer", "version": 1}',
        '{"format": "another", "version": 1}',
        b"\xff",
    ],
)
def test_other_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(DialogueError):
        Answer.from_json(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("text",), 3),
        (("tracks", 0, "scores", 0), "high"),
        (("tracks", 0, "score"), float("nan")),
        pytest.param(("tracks", 0, "score"), 10**400, id="huge"),
        (("tracks", 0, "first"), 1.5),
        (("sampling", "size"), [36]),
        (("sampling", "truncated"), 0),
        (("moments",), [[1.0]]),
        (("timings",), {"vision": "fast"}),
        (("phrases", 0, "more"), 1),
        (("phrases", 0, "end"), 4),
    ],
)
def test_wrong_fields_are_refused(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    at = body
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(DialogueError):
        Answer.from_json(json.dumps(body))


@pytest.mark.parametrize("mask", [{"size": [36, 64], "counts": "0"}, {"size": [64, 36], "counts": "0"}, {"counts": "0"}])
def test_broken_masks_are_refused(body: dict[str, Any], mask: Any) -> None:
    body["tracks"][0]["rle"][0] = mask
    with pytest.raises(MaskError):
        Answer.from_json(json.dumps(body))


def test_numbers_that_json_cannot_hold_are_refused(answer: Answer) -> None:
    with pytest.raises(DialogueError, match="not finite"):
        dataclasses.replace(answer, timings={"vision": float("inf")}).to_json()


def test_numpy_numbers_become_plain(answer: Answer) -> None:
    timed = dataclasses.replace(answer, timings={"vision": np.float32(0.5)})
    assert Answer.from_json(timed.to_json()).timings == {"vision": 0.5}


def test_masks_and_times_of_a_track(answer: Answer) -> None:
    assert np.array_equal(answer.masks(0), MASKS[0])
    last = int(np.flatnonzero(MASKS[0].any(axis=(1, 2)))[-1])
    assert 0 < last < 5
    assert answer.visible(0) == (0.0, TIMES[last])
    unseen = answer_about(np.zeros_like(MASKS), TIMES)
    assert unseen.visible(0) is None
    assert not unseen.masks(0).any()


def test_parts_that_do_not_fit_each_other_are_refused(answer: Answer) -> None:
    with pytest.raises(MaskError, match="grounding frames"):
        dataclasses.replace(answer, tracks=answer_about(MASKS[:, :3], TIMES[:3]).tracks)
    with pytest.raises(MaskError, match="times"):
        dataclasses.replace(answer, sampling=dataclasses.replace(answer.sampling, grounding_times=TIMES[:3]))
    with pytest.raises(MaskError, match="tracks"):
        dataclasses.replace(answer, phrases=(Phrase(None, None, None, 9),))
    with pytest.raises(MaskError, match="seen"):
        dataclasses.replace(answer, tracks=(dataclasses.replace(answer.tracks[0], last=99), *answer.tracks[1:]))
    with pytest.raises(DialogueError, match="span"):
        dataclasses.replace(answer, phrases=(Phrase("a red", 1, 6, 0),))


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".html"])
def test_overlay_by_suffix(answer: Answer, tmp_path: Path, suffix: str) -> None:
    written = answer.save_overlay(tmp_path / "deep" / f"out{suffix}", VIDEO)
    assert written.stat().st_size > 500
    assert [path.name for path in written.parent.iterdir()] == [f"out{suffix}"]


def test_other_suffixes_are_refused(answer: Answer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.gif"):
        answer.save_overlay(tmp_path / "out.gif", VIDEO)
    with pytest.raises(ConfigError, match="single image"):
        answer_about(MASKS[:, :1], (0.0,)).save_overlay(tmp_path / "out.mp4", VIDEO[:1])


def test_the_video_itself_is_not_written_over(answer: Answer, tmp_path: Path) -> None:
    clip, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    clip.write_bytes(b"a film")
    link.symlink_to(clip)
    about = dataclasses.replace(answer, source=str(clip))
    for target, video in ((clip, None), (link, None), (clip, str(link)), (link, clip)):
        with pytest.raises(ConfigError, match="the video itself"):
            about.save_overlay(target, video)
    assert clip.read_bytes() == b"a film"
    assert about.save_overlay(clip, VIDEO).stat().st_size > 500, "what is shown is in memory"


def test_a_target_that_cannot_be_written_is_told(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "folder.mp4", tmp_path / "file" / "below.mp4"):
        with pytest.raises(ConfigError, match=r"a folder"):
            answer.save_overlay(target, VIDEO)


def test_a_file_name_that_is_no_text_is_written_and_read(answer: Answer) -> None:
    odd = dataclasses.replace(answer, source=os.fsdecode(b"caf\xe9.png"))
    told = odd.to_json().encode()
    assert Answer.from_json(told) == odd
