"""FiftyOne's data set on disk, read as its importer reads it.

FiftyOne itself needs a database that no package brings, and its reader, voxel51-eta, does not go with the versions that are pinned
here. By hand, apart from them, voxel51-eta 0.17.0 reads the same objects, boxes and masks (`LabeledVideoDataset`, `VideoLabels`).
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.export.runs import INDICES, SIZE, an_answer, failed, moving, ok, write_run
from vglamm.errors import ConfigError
from vglamm.export.formats import export
from vglamm.export.settings import Settings


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "videos"


def mask_on_frame(detected: dict[str, Any]) -> np.ndarray:
    """The mask of the whole frame, from a box relative to it and the mask inside the box."""
    inside = np.load(io.BytesIO(zlib.decompress(base64.b64decode(detected["mask"]))), allow_pickle=False)
    corners = [detected["bounding_box"][corner] for corner in ("top_left", "bottom_right")]
    (left, top), (right, bottom) = [(round(c["x"] * SIZE[1]), round(c["y"] * SIZE[0])) for c in corners]
    assert inside.shape == (bottom - top, right - left)
    assert inside.dtype == np.bool_
    whole = np.zeros(SIZE, np.bool_)
    whole[top:bottom, left:right] = inside
    return whole


@pytest.mark.parametrize("with_videos", [False, True])
def test_every_object_is_on_its_frame(tmp_path: Path, videos: Path, with_videos: bool) -> None:
    run = write_run(tmp_path / "run", [ok("a"), failed(), ok("b", an_answer(moving(1)))])
    export(run, "fiftyone", tmp_path / "out", Settings(videos=videos, with_videos=with_videos))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["type"] == "eta.core.datasets.LabeledVideoDataset"
    assert [record["labels"] for record in manifest["index"]] == ["labels/a.json", "labels/b.json"]
    found = [(tmp_path / "out" / record["data"]) for record in manifest["index"]]  # an absolute path stays one, as in os.path.join
    assert [path.read_bytes() for path in found] == [b"a", b"b"]
    assert all(path.is_relative_to(tmp_path / "out") == with_videos for path in found)

    labels = json.loads((tmp_path / "out" / "labels" / "a.json").read_text())
    assert {a["name"]: a["value"] for a in labels["attrs"]["attrs"]} == {"question": "What?", "answer": "See thing 1 thing 2"}
    assert list(labels["frames"]) == [str(index + 1) for index in INDICES]
    for position, (number, frame) in enumerate(labels["frames"].items()):
        assert frame["frame_number"] == int(number)
        objects = {detected["index"]: detected for detected in frame["objects"]["objects"]}
        assert set(objects) == {1, 2} - ({1} if position == 1 else set())
        for index, detected in objects.items():
            assert detected["label"] == f"thing {index}"
            assert detected["confidence"] == 0.9
            assert np.array_equal(mask_on_frame(detected), moving()[index - 1, position])


def test_an_image_has_no_place(tmp_path: Path, videos: Path) -> None:
    run = write_run(tmp_path / "run", [ok("a", an_answer(moving(frames=1), (0,), 1))])
    with pytest.raises(ConfigError, match="a video file"):
        export(run, "fiftyone", tmp_path / "out", Settings(videos=videos))
    assert not (tmp_path / "out").exists()
