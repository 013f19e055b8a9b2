"""Which videos share a batch: those that are neighbours in the manifest, in every run, whatever is done of it already.

What is computed together differs in its last bits from what is computed alone, so a run that is taken up again makes up the batches
that were cut before it: fillers go along as far as their batch does, and leave no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ray_jobs.annotate.fill import parcel_of
from ray_jobs.annotate.parcel import Parcel

if TYPE_CHECKING:
    from ray_jobs.annotate.manifest import Job
    from ray_jobs.annotate.profile import Profile
    from ray_jobs.annotate.run import BulkJob


def together(profile: Profile) -> int:
    """Videos after which all pools of a profile begin a new batch: each takes whole blocks of the one before it."""
    size = 1
    for pool in profile.pools.values():
        size *= -(-pool.batch // size)
    return size


def whole_batches(missing: Sequence[Job], job: BulkJob) -> Iterator[Parcel]:
    """The parcels of ``missing``, in order, and fillers in the places of all others with which they share a batch. What is no video
    by its name fills its place as failed. A retry, which asks other questions, has batches of its own."""
    wanted, size = {one.position: one for one in missing}, 1 if job.retry else together(job.profile)
    begun = {position // size for position in wanted}
    for one in job.manifest.jobs:
        if one.position in wanted:
            yield parcel_of(wanted[one.position], job)
        elif one.position // size in begun:
            filler = parcel_of(one, job)
            filler.plain["filler"] = True
            yield filler.fail("VideoUnreadable", one.skipped) if one.skipped else filler
