"""A bulk job for a machine of two cores, and its rows without what may differ from run to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.profile import Frames, Pool, Profile
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings
from vglamm import annotation
from vglamm.annotation import Annotation

SMALL = Profile(
    "small",
    decode_vision=Pool(cpus=0.2),
    vision=Pool(cpus=0.2, batch=2),
    language=Pool(cpus=0.2, batch=2),
    decode_pixel=Frames(cpus=0.2),
    pixel=Pool(cpus=0.2),
    whole=Pool(cpus=0.4, batch=2),
    device="cpu",
)


def one_by_one(profile: Profile) -> Profile:
    """Batches of one: equal rows whatever came together."""
    return replace(profile, vision=replace(profile.vision, batch=1), language=replace(profile.language, batch=1))


def bulk_job(source: object, model: object, out: Path, *questions: str, profile: Profile = SMALL, **settings: Any) -> BulkJob:
    """Every frame of all videos of ``source``, in parts of 4 videos unless told otherwise."""
    manifest = read_manifest(str(source), questions or ("who?",))
    part = settings.pop("part", 4)
    return BulkJob(manifest, Settings(str(model), {"every_frame": True}, **settings), profile, str(out), part=part)


def rows_there(out: Path, part: int = 4) -> int:
    """Videos of an unfinished run whose rows are written."""
    return len(list((out / "rows").glob("*.parquet"))) + part * len(list(out.glob("part-*.parquet")))


def told(out: Path) -> list[Annotation]:
    """Rows without what may differ: times."""
    rows = list(annotation.read(out))
    for row in rows:
        if row.answer is not None:
            row.answer.timings.clear()
    return rows
