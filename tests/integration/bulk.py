"""A small bulk job for tests: a checkpoint that grounds what it says, and numbered clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ray_jobs.annotate.manifest import Manifest, read_manifest
from ray_jobs.annotate.profile import Frames, Pool, Profile
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings
from tests import fakes
from vglamm import checkpoint
from vglamm.media.mp4 import write_mp4

SMALL = Profile(
    "small",
    decode_vision=Pool(cpus=0.2),
    vision=Pool(cpus=0.2, batch=2),
    language=Pool(cpus=0.2, batch=2),
    decode_pixel=Frames(cpus=0.2),
    pixel=Pool(cpus=0.2),
    whole=Pool(cpus=0.4, batch=2),
    device="cpu",
    stall=600.0,
)
WHOLE = replace(SMALL, name="small-whole", layout="whole")


def talking_checkpoint(folder: Path) -> Path:
    """Random weights, but a reply with two grounded phrases."""
    checkpoint.save(fakes.talker(), folder, tokenizer=fakes.tokenizer())
    return folder


def clips(folder: Path, count: int, frames: int = 12) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip-{n:03d}.mp4" for n in range(count)]
    for n, path in enumerate(paths):
        write_mp4(path, ((i / 6, frame) for i, frame in enumerate(fakes.video(frames, seed=n))), last=1 / 6)
    return paths


def bulk_job(source: object, model: Path, out: Path, *questions: str, profile: Profile = SMALL, **settings: Any) -> BulkJob:
    manifest: Manifest = read_manifest(str(source), questions or ("who?",))
    part = settings.pop("part", 4)
    return BulkJob(manifest, Settings(str(model), {"every_frame": True}, **settings), profile, str(out), part=part)
