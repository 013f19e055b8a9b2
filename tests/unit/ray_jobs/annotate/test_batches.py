"""Batches are cut by position, whatever is done already: fillers stand in the places of what is not asked again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ray_jobs.annotate.batches import together, whole_batches
from ray_jobs.annotate.manifest import read_manifest
from ray_jobs.annotate.parcel import pack, unpack
from ray_jobs.annotate.profile import Pool, Profile, load_profile
from ray_jobs.annotate.run import BulkJob
from ray_jobs.annotate.stages import Settings


@pytest.mark.parametrize(
    ("vision", "language", "size"),
    [(1, 1, 1), (4, 4, 4), (2, 4, 4), (4, 2, 4), (2, 3, 4), (1, 3, 3)],  # blocks of 2 for batches of 3: two of them, four videos
)
def test_a_batch_is_of_whole_blocks_of_the_stage_before(vision: int, language: int, size: int) -> None:
    assert together(Profile("own", vision=Pool(batch=vision), language=Pool(batch=language))) == size
    assert together(replace(load_profile("one-gpu"), whole=Pool(batch=8))) == 8


@pytest.fixture
def job(tmp_path: Path) -> BulkJob:
    """Eleven videos, in batches of four; the sixth is none."""
    for number in range(11):
        (tmp_path / f"{number:02d}{'.txt' if number == 5 else '.mp4'}").touch()
    return BulkJob(
        read_manifest(str(tmp_path), ["who?"]), Settings("m", {}), load_profile("laptop"), str(tmp_path / "out"), model="m"
    )


def test_a_batch_of_which_something_is_missing_is_formed_again(job: BulkJob) -> None:
    def formed(*missing: int) -> dict[int, tuple[bool, bool]]:
        parcels = whole_batches([job.manifest.jobs[position] for position in missing], job)
        return {one.position: (one.filler, one.failed) for parcel in parcels for one in unpack(pack([parcel]))}

    own, filler, gap = (False, False), (True, False), (True, True)
    assert formed(*(n for n in range(11) if n != 5)) == {n: gap if n == 5 else own for n in range(11)}
    assert formed(6, 9) == {4: filler, 5: gap, 6: own, 7: filler, 8: filler, 9: own, 10: filler}
    assert list(formed(6, 9)) == [4, 5, 6, 7, 8, 9, 10], "in order"


def test_a_retry_and_batches_of_one_have_no_fillers(job: BulkJob) -> None:
    missing = [job.manifest.jobs[6]]
    alone = replace(job.profile, vision=Pool(), language=Pool())
    for other in (replace(job, retry=True), replace(job, profile=alone)):
        assert [parcel.position for parcel in whole_batches(missing, other)] == [6]
