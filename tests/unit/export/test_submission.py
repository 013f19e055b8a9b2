"""Submissions: what a server reads from the zip, and that nothing incomplete is ever written."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.unit.export.runs import SIZE, SUBMITTED, an_answer, asked, failed, moving, ok, write_run
from vglamm.annotation import Annotation
from vglamm.errors import ConfigError, CorpusError, VideoUnreadable
from vglamm.export.formats import export
from vglamm.export.settings import LeftOut, Settings

FRAMES = 3


def whole(objects: int = 2, size: tuple[int, int] = SIZE) -> Any:
    """An answer with masks on each of three frames."""
    return an_answer(moving(objects, FRAMES, size), range(FRAMES), FRAMES)


def row(video: str = "v1", exp_id: str = "0", **changes: Any) -> Annotation:
    return asked(ok(f"{video}#{exp_id}", **{"answer": whole(), **changes}), exp_id, FRAMES)


def lost(video: str = "v1", exp_id: str = "1") -> Annotation:
    return asked(failed(f"{video}-{exp_id}", video=video), exp_id, FRAMES)


def submit(
    tmp_path: Path, rows: Sequence[Annotation], form: str = "mevis", settings: Settings | None = None
) -> dict[str, np.ndarray]:
    """Pictures of the submission by name, in its order."""
    export(write_run(tmp_path / "run", rows, SUBMITTED), form, tmp_path / "out.zip", settings)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        pictures = {}
        for name in archive.namelist():
            assert name not in pictures
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert (image.format, image.mode) == ("PNG", "L")
                pictures[name] = np.asarray(image)
    return pictures


@pytest.mark.parametrize(("form", "root"), [("mevis", ""), ("ref-youtube-vos", "Annotations/")])
def test_a_mask_is_the_union_of_all_objects(tmp_path: Path, form: str, root: str) -> None:
    pictures = submit(tmp_path, [row("v2"), row("v1", "10"), row("v1", "2", answer=whole(0))], form)
    expressions = ["v1/10", "v1/2", "v2/0"]
    assert list(pictures) == [f"{root}{expression}/f{k:03d}.png" for expression in expressions for k in range(FRAMES)]
    union = moving(2, FRAMES).any(axis=0)
    for k in range(FRAMES):
        assert np.array_equal(pictures[f"{root}v2/0/f{k:03d}.png"], union[k] * np.uint8(255))
        assert not pictures[f"{root}v1/2/f{k:03d}.png"].any()  # an answer without objects: nothing of that kind is there


def test_equal_runs_in_any_order_give_equal_bytes(tmp_path: Path) -> None:
    rows = [row("v1"), row("v2"), row("v1", "1")]
    for name, given in (("one", rows), ("other", rows[::-1])):
        (tmp_path / name).mkdir()
        submit(tmp_path / name, given)
    assert (tmp_path / "one" / "out.zip").read_bytes() == (tmp_path / "other" / "out.zip").read_bytes()


def test_what_is_missing_is_listed_and_nothing_is_written(tmp_path: Path) -> None:
    sparse = row("v2", answer=an_answer(moving(2, 2), (0, 2), FRAMES))
    with pytest.raises(CorpusError) as error:
        submit(tmp_path, [row(), lost(), sparse])
    assert "lacks 4 masks: v1/1/f000, v1/1/f001, v1/1/f002, v2/0/f001" in error.value.got
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_long_list_of_what_is_missing_is_cut(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"lacks 30 masks: .* and 10 more"):
        submit(tmp_path, [row(), *(lost("v1", str(number)) for number in range(1, 11))])


def test_failed_rows_can_get_empty_masks(tmp_path: Path) -> None:
    pictures = submit(tmp_path, [lost(), row()], settings=Settings(left_out=LeftOut.empty))
    assert len(pictures) == 2 * FRAMES
    assert pictures["v1/1/f002.png"].shape == SIZE
    assert not pictures["v1/1/f002.png"].any()


def test_a_video_without_any_answer_has_the_size_of_its_first_frame(tmp_path: Path) -> None:
    for video in ("v1", "v3"):
        (tmp_path / "JPEGImages" / video).mkdir(parents=True)
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "JPEGImages" / "v1" / "f000.jpg")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "JPEGImages" / "v3" / "f000.jpg", exif=exif)
    settings = Settings(videos=tmp_path / "JPEGImages", left_out=LeftOut.empty)
    pictures = submit(tmp_path, [lost("v3"), row()], settings=settings)
    assert [pictures[f"v3/1/f00{k}.png"].shape for k in range(FRAMES)] == [(20, 10)] * FRAMES
    assert not any(pictures[f"v3/1/f00{k}.png"].any() for k in range(FRAMES))
    (tmp_path / "JPEGImages" / "v3" / "f000.jpg").write_bytes(b"damaged")
    with pytest.raises(VideoUnreadable, match=r"f000\.jpg"):
        export(tmp_path / "run", "mevis", tmp_path / "other.zip", settings)
    (tmp_path / "JPEGImages" / "v3" / "f000.jpg").unlink()
    with pytest.raises(CorpusError, match="no frame f000 of v3"):
        export(tmp_path / "run", "mevis", tmp_path / "other.zip", settings)
    assert not (tmp_path / "other.zip").exists()


def test_a_video_without_any_answer_has_no_known_size(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no answered row of v3"):
        submit(tmp_path, [lost("v3"), row()], settings=Settings(left_out=LeftOut.empty))


@pytest.mark.parametrize("column", ["exp_id", "frames"])
def test_a_missing_column_is_told(tmp_path: Path, column: str) -> None:
    broken = row()
    broken = replace(broken, extra={name: None if name == column else value for name, value in broken.extra.items()})
    with pytest.raises(ConfigError, match=f"without {column}"):
        submit(tmp_path, [broken])
    run = write_run(tmp_path / "plain", [ok()])
    with pytest.raises(ConfigError, match="without exp_id and frames"):
        export(run, "mevis", tmp_path / "out.zip")


BAD = {
    "an expression twice": ([row(), row()], "two rows of expression 0"),
    "another number of frames": ([asked(ok("v1", whole()), "0", 5)], "3 frames in"),
    "a name that climbs": ([replace(row(), video="..")], "as a name"),
    "an expression that climbs": ([asked(ok("v1", whole()), "../x", FRAMES)], "as a name"),
    "frames that repeat": ([replace(row(), extra={"exp_id": "0", "frames": ["a", "a", "b"]})], "frames"),
    "sizes that differ": ([row(), row(exp_id="1", answer=whole(size=(14, 16)))], r"\[14, 16\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_cannot_be_submitted(tmp_path: Path, case: str) -> None:
    rows, message = BAD[case]
    with pytest.raises(CorpusError, match=message):
        submit(tmp_path, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_sizes_are_held_to_the_frames_of_the_benchmark(tmp_path: Path) -> None:
    frame = tmp_path / "JPEGImages" / "v1" / "f000.jpg"
    frame.parent.mkdir(parents=True)
    Image.new("RGB", (16, 12)).save(frame)
    settings = Settings(videos=tmp_path / "JPEGImages")
    assert len(submit(tmp_path, [row()], settings=settings)) == FRAMES
    Image.new("RGB", (32, 24)).save(frame)
    with pytest.raises(CorpusError, match=r"\[24, 32\]"):
        export(tmp_path / "run", "mevis", tmp_path / "other.zip", settings)
    frame.unlink()
    with pytest.raises(CorpusError, match="no frame f000"):
        export(tmp_path / "run", "mevis", tmp_path / "other.zip", settings)


def expressions(path: Path, ids: dict[str, list[str]], count: int = FRAMES) -> Settings:
    frames = [f"f{number:03d}" for number in range(count)]
    videos = {video: {"expressions": {e: {"exp": "x"} for e in of}, "frames": frames} for video, of in ids.items()}
    path.write_text(json.dumps({"videos": videos}))
    return Settings(expressions=path)


def test_a_submission_is_held_to_the_list_of_the_benchmark(tmp_path: Path) -> None:
    listed = tmp_path / "meta_expressions.json"
    assert len(submit(tmp_path, [row(), row(exp_id="1")], settings=expressions(listed, {"v1": ["0", "1"]}))) == 2 * FRAMES
    for ids, count, message in (
        ({"v1": ["0", "1", "2"], "v2": ["0"]}, FRAMES, "lacks 6 masks: v1/2/f000, .*, v2/0/f002"),
        ({"v1": ["0", "1"]}, FRAMES + 1, "lacks 2 masks: v1/0/f003, v1/1/f003"),
        ({"v1": ["0"]}, FRAMES, "expression 1 of v1"),
        ({"v1": ["0", "1"]}, FRAMES - 1, "frames .*f002"),
    ):
        with pytest.raises(CorpusError, match=message):
            export(tmp_path / "run", "mevis", tmp_path / "other.zip", expressions(listed, ids, count))
    listed.write_text("[]")
    with pytest.raises(CorpusError, match="cannot be read"):
        export(tmp_path / "run", "mevis", tmp_path / "other.zip", Settings(expressions=listed))
    assert not (tmp_path / "other.zip").exists()
