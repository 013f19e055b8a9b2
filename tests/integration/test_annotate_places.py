"""Where a bulk job runs and where its videos and rows lie: pretended GPUs, an S3 server, long videos, borders between stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import fs

from benchmarks.bulk.job import SMALL, bulk_job
from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.parcel import Parcel, pack
from ray_jobs.annotate.run import BulkJob, annotate
from ray_jobs.annotate.stages import Decode, Say, See, Settings
from tests.integration.bulk import clips
from vglamm import annotation
from vglamm.errors import ConfigError
from vglamm.places import Place

pytestmark = pytest.mark.ray


GPUS = """
import sys
from dataclasses import replace
from pathlib import Path
import ray
from ray_jobs.annotate.profile import Pool
from ray_jobs.annotate.run import annotate
from benchmarks.bulk.job import SMALL, bulk_job
ray.init(address="local", num_cpus=4, num_gpus=4, include_dashboard=False, object_store_memory=200 * 1024**2, log_to_driver=False)
profile = replace(
    SMALL, device="auto",
    vision=Pool(cpus=0.2, gpus=0.4), language=Pool(cpus=0.2, gpus=0.6), pixel=Pool(actors=(2, 2), cpus=0.2, gpus=1.0),
)
annotate(bulk_job(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), profile=profile))
"""


@pytest.mark.fault
def test_each_part_sees_the_gpus_that_its_profile_gives_it(talker: Path, tmp_path: Path, repository: Path) -> None:
    clips(tmp_path / "videos", 6)
    words = [sys.executable, "-c", GPUS, str(tmp_path / "videos"), str(talker), str(tmp_path / "out")]
    subprocess.run(words, check=True, timeout=280, env=os.environ | {"PYTHONPATH": str(repository)})
    workers = json.loads((tmp_path / "out" / "summary.json").read_text())["workers"]
    seen = {stage: [w["gpus"] for w in workers if w["stage"] == stage] for stage in ("decode", "vision", "language", "pixel")}
    assert seen["decode"] == [[]]
    assert len(seen["vision"]) == len(seen["language"]) == 1
    assert seen["vision"] == seen["language"], "0.4 and 0.6 of a GPU share one"
    assert len(seen["pixel"]) == 2
    assert len({one for gpus in (seen["vision"], *([g] for g in seen["pixel"])) for [one] in gpus}) == 3
    shares = {stage: {w["gpu_share"] for w in workers if w["stage"] == stage} for stage in seen}
    assert shares == {"decode": {0.0}, "vision": {0.4}, "language": {0.6}, "pixel": {1.0}}, "as in the profile"
    assert {w["device"] for w in workers} == {"cpu"}, "pretended GPUs are none that torch can use"


@pytest.mark.slow
def test_videos_and_rows_on_s3(talker: Path, tmp_path: Path, s3: str, local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(f"s3://bucket/videos?{s3}")
    place.system.create_dir("bucket")
    for path in clips(tmp_path / "local", 3):
        with place.system.open_output_stream(f"bucket/videos/{path.name}") as file:
            file.write(path.read_bytes())
    out = f"s3://bucket/out?{s3}"
    profile = replace(SMALL, vision=replace(SMALL.vision, batch=1), language=replace(SMALL.language, batch=1))
    job = BulkJob(read_manifest(f"s3://bucket/videos?{s3}", ["who?"]), Settings(str(talker), {}), profile, out)
    assert annotate(job).rows == {"ok": 3}
    rows = list(annotation.read(out))
    assert [row.id for row in rows] == ["clip-000.mp4", "clip-001.mp4", "clip-002.mp4"]
    assert annotate(job).done == 0
    local = annotate(bulk_job(tmp_path / "local", talker, tmp_path / "out", profile=profile))
    assert local.rows == {"ok": 3}
    assert [row.sha256 for row in rows] == [row.sha256 for row in annotation.read(tmp_path / "out")]
    kept = {info.path for info in place.system.get_file_info(fs.FileSelector("bucket/out", recursive=True))}
    assert "bucket/out/part-00000.parquet" in kept
    assert not [path for path in kept if path.startswith("bucket/out/rows/") and path.endswith(".parquet")]


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(ConfigError, match="with a password in it"):
        Place.of("s3://key:secret@bucket/videos")


def test_borders_carry_bytes_tokens_and_prompts_but_no_float_frame(talker: Path, tmp_path: Path) -> None:
    [path] = clips(tmp_path / "videos", 1)
    settings = Settings(str(talker), {"every_frame": True})
    plain = {"id": "a", "uri": str(path), "questions": ["who?"], "own_sampling": {}, "timings": {}}
    first = [Parcel(0, plain)]
    decoded = Decode(settings)(first)
    seen = See(settings, "cpu")(decoded)
    said = Say(settings, "cpu", 1)(seen)
    kinds = [{name: str(array.dtype) for name, array in parcels[0].arrays.items()} for parcels in (first, decoded, seen, said)]
    assert kinds == [{}, {"spatial": "uint8", "temporal": "uint8"}, {"tokens": "float32"}, {"prompts": "float32"}]
    frames = sum(array.nbytes for array in decoded[0].arrays.values())
    tokens = seen[0].arrays["tokens"].nbytes
    border = [pack(parcels).nbytes for parcels in (first, decoded, seen, said)]
    overhead = 4000  # of names, times of frames and the reply as JSON
    assert border[0] < overhead
    assert frames <= border[1] < frames + overhead
    assert tokens <= border[2] < tokens + overhead
    assert border[3] < overhead + said[0].arrays["prompts"].nbytes


@pytest.mark.slow
def test_an_object_keeps_its_identity_through_ten_minutes(talker: Path, tmp_path: Path, local_ray: None) -> None:
    import vglamm
    from tests import fakes
    from vglamm.media.mp4 import write_mp4

    path = tmp_path / "videos" / "long.mp4"
    path.parent.mkdir()
    write_mp4(path, ((i / 2, frame) for i, frame in enumerate(fakes.video(1200, 32, 48))), last=0.5)
    annotate(bulk_job(path.parent, talker, tmp_path / "out"))
    [row] = annotation.read(tmp_path / "out")
    assert row.answer is not None
    assert row.answer.sampling.grounding_times[-1] > 599
    said = vglamm.load(talker).ask(path, "who?", every_frame=True)
    assert [track.rle for track in row.answer.tracks] == [track.rle for track in said.tracks]
